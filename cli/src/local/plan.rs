//! Where each broker of a local cluster listens and keeps its data, and the configuration file that says so.
//!
//! Every port is known before the first broker starts, since brokers must name each other. A free port is found by binding it
//! and letting it go; whoever takes it in between makes the start fail, with a message, and nothing worse.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::exit::{CliError, CliResult};
use crate::files;

/// From one broker's ports to the next one's.
const PORT_STEP: u16 = 10;
/// Below the ports that Linux gives to outgoing connections, and to whoever binds port 0.
const QUIET_PORTS: Range<u16> = 20_000..32_000;
const KAFKA_DEFAULT: &str = "localhost:9092";

/// What the user asked for; the first broker's addresses, from which the others' follow.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    pub(crate) brokers: u16,
    pub(crate) grpc: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) kafka: Option<String>,
}

/// The brokers to be run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) brokers: Vec<BrokerPlan>,
    pub(crate) logs: Logs,
}

/// What the brokers log, unless `HIGHWATER_LOG` says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logs {
    AsUsual,
    /// Nothing: the command tells the story.
    Nothing,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct BrokerPlan {
    pub(crate) id: i32,
    /// Its configuration; `highwater broker --config` runs it from there.
    pub(crate) config: PathBuf,
}

struct Addresses {
    peer: Vec<String>,
    grpc: Vec<String>,
    admin: Vec<String>,
    kafka: Vec<String>,
}

impl Plan {
    /// Chooses addresses, and writes the configurations into `folder`. A folder that holds a cluster keeps its peers' addresses.
    pub(crate) fn make(wishes: &Wishes, folder: &Path) -> CliResult<Plan> {
        let count = usize::from(wishes.brokers);
        let config_of = |id: usize| folder.join(format!("broker-{id}.toml"));
        let peer = match peers_of(&config_of(1)) {
            Some(peers) if peers.len() == count => peers,
            Some(peers) => {
                return Err(CliError::usage(format!(
                    "{} holds a cluster of {} brokers",
                    folder.display(),
                    peers.len()
                ))
                .hint(format!("give --brokers {}, or another folder", peers.len())));
            }
            None => peers_beside(wishes.grpc, count)?,
        };
        let addresses = Addresses {
            peer,
            grpc: texts(row(wishes.grpc, count)?),
            admin: texts(row(wishes.admin, count)?),
            kafka: kafka(wishes.kafka.as_deref(), count)?,
        };
        let mut brokers = Vec::new();
        for id in 1..=count {
            let config = config_of(id);
            let data = folder.join(format!("broker-{id}"));
            files::write_text(&config, &addresses.configuration(id, &data)).map_err(|error| {
                CliError::failed(format!("{} cannot be written: {error}", config.display()))
            })?;
            brokers.push(BrokerPlan { id: i32::try_from(id).unwrap_or(i32::MAX), config });
        }
        Ok(Plan { brokers, logs: Logs::AsUsual })
    }

    /// The same, with brokers that say nothing.
    pub(crate) fn quiet(self) -> Plan {
        Plan { logs: Logs::Nothing, ..self }
    }
}

impl Addresses {
    fn configuration(&self, id: usize, data: &Path) -> String {
        let voters: Vec<String> =
            (1..).zip(&self.peer).map(|(id, address)| format!("{id}@{address}")).collect();
        let count = self.peer.len();
        let at = id - 1;
        format!(
            "# Broker {id} of a local cluster of {count}. `highwater broker --config` with this file runs it by itself.\n\
             broker.id = {id}\n\
             {VOTERS}{:?}\n\
             data.dir = {:?}\n\
             listener.peer = {:?}\n\
             listener.grpc = {:?}\n\
             listener.admin = {:?}\n\
             listener.kafka = {:?}\n\
             topic.auto.create = true\n",
            voters.join(","),
            data,
            self.peer[at],
            self.grpc[at],
            self.admin[at],
            self.kafka[at],
        )
    }
}

const VOTERS: &str = "cluster.voters = ";

/// The peers' addresses that a configuration written here names.
fn peers_of(config: &Path) -> Option<Vec<String>> {
    let text = files::read_text(config).ok()?;
    let voters = text.lines().find_map(|line| line.strip_prefix(VOTERS))?;
    let voters = voters.trim().trim_matches('"').split(',');
    voters.map(|voter| Some(voter.split_once('@')?.1.to_owned())).collect()
}

fn texts(addresses: Vec<SocketAddr>) -> Vec<String> {
    addresses.iter().map(ToString::to_string).collect()
}

/// One address per broker: the first one's, then ten ports up each; free ports when the first is 0.
fn row(first: SocketAddr, count: usize) -> CliResult<Vec<SocketAddr>> {
    if first.port() == 0 {
        return free(first.ip(), count);
    }
    let port_of = |index: usize| {
        u16::try_from(index).ok()?.checked_mul(PORT_STEP).and_then(|up| first.port().checked_add(up))
    };
    let next = |index| Some(SocketAddr::new(first.ip(), port_of(index)?));
    (0..count).map(next).collect::<Option<Vec<_>>>().ok_or_else(|| {
        CliError::usage(format!("{first} leaves no ports for {count} brokers, each ten above the one before"))
    })
}

/// The ports right above gRPC's where they are free, as with one broker; else any.
fn peers_beside(grpc: SocketAddr, count: usize) -> CliResult<Vec<String>> {
    let beside = grpc.port().checked_add(1).filter(|_| grpc.port() != 0);
    let Some(port) = beside else { return Ok(texts(free(grpc.ip(), count)?)) };
    let beside = row(SocketAddr::new(grpc.ip(), port), count)?;
    if beside.iter().all(|address| is_free(*address)) {
        return Ok(texts(beside));
    }
    Ok(texts(free(grpc.ip(), count)?))
}

fn kafka(wish: Option<&str>, count: usize) -> CliResult<Vec<String>> {
    if wish == Some("none") {
        return Ok(vec!["none".to_owned(); count]);
    }
    let text = wish.unwrap_or(KAFKA_DEFAULT);
    let wrong = || {
        CliError::usage(format!(
            "--kafka {text} is not an address and a port, such as 127.0.0.1:9092 or localhost:9092"
        ))
    };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port: u16 = port.parse().map_err(|_| wrong())?;
    let ip: IpAddr = match host {
        "localhost" => Ipv4Addr::LOCALHOST.into(),
        host => host.trim_matches(['[', ']']).parse().map_err(|_| wrong())?,
    };
    let mut addresses = row(SocketAddr::new(ip, port), count)?;
    if wish.is_none() && !addresses.iter().all(|address| is_free(*address)) {
        addresses = free(ip, count)?;
    }
    Ok(addresses.iter().map(|address| format!("{host}:{}", address.port())).collect())
}

fn is_free(address: SocketAddr) -> bool {
    TcpListener::bind(address).is_ok()
}

/// Ports that nobody has at the moment. Held together until all are found, so that none is found twice.
fn free(ip: IpAddr, count: usize) -> CliResult<Vec<SocketAddr>> {
    let held: Result<Vec<TcpListener>, _> = (0..count).map(|_| bind_quiet_port(ip)).collect();
    let addresses = held.and_then(|held| held.iter().map(TcpListener::local_addr).collect());
    addresses.map_err(|error| CliError::failed(format!("no free port on {ip}: {error}")))
}

/// Binds a port that is given to nobody who doesn't ask for it: below those that the system picks from. One that it had picked
/// could be somebody else's by the time its broker starts.
fn bind_quiet_port(ip: IpAddr) -> std::io::Result<TcpListener> {
    const TRIES: u32 = 100;
    /// A process tries so many before it comes to those of the one that was started after it.
    const STRIDE: u32 = 97;
    static TRIED: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(STRIDE);
    let span = u32::from(QUIET_PORTS.end - QUIET_PORTS.start);
    let next = || {
        let above = first.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % span;
        QUIET_PORTS.start + u16::try_from(above).expect("below a span of ports")
    };
    let found = (0..TRIES).find_map(|_| TcpListener::bind((ip, next())).ok());
    found.map_or_else(|| TcpListener::bind((ip, 0)), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_broker_is_ten_ports_up_and_a_row_that_does_not_fit_is_refused() {
        let row_of = |first: &str| row(first.parse().unwrap(), 3);
        assert_eq!(
            texts(row_of("127.0.0.1:9094").unwrap()),
            ["127.0.0.1:9094", "127.0.0.1:9104", "127.0.0.1:9114"]
        );
        assert!(row_of("127.0.0.1:65530").is_err());
        let mut free = row_of("127.0.0.1:0").unwrap();
        free.dedup();
        assert_eq!(free.len(), 3);
    }

    #[test]
    fn a_configuration_names_every_peer_and_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes {
            brokers: 3,
            grpc: "127.0.0.1:0".parse().unwrap(),
            admin: "127.0.0.1:0".parse().unwrap(),
            kafka: Some("localhost:0".to_owned()),
        };
        let plan = Plan::make(&wishes, folder.path()).unwrap();
        let peers = peers_of(&plan.brokers[0].config).unwrap();
        assert_eq!(peers.len(), 3);
        let again = Plan::make(&wishes, folder.path()).unwrap();
        assert_eq!(peers_of(&again.brokers[2].config).unwrap(), peers, "kept by the folder");
        let more = Plan::make(&Wishes { brokers: 5, ..wishes }, folder.path()).unwrap_err();
        assert!(more.hint.unwrap().contains("--brokers 3"));
    }
}
