//! Who this broker is in its cluster, and how it finds the others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use highwater_proto::BrokerId;

use super::sources::ConfigError;
use super::values::Reader;

/// The settings of a cluster's member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Where other brokers are listened to; port 0 picks a free one.
    pub peer: SocketAddr,
    /// What other brokers are told, if not the bound address.
    pub advertised_peer: Option<String>,
    /// The first voters, with the addresses of their peer listeners; none: this broker alone.
    pub voters: BTreeMap<BrokerId, String>,
    /// Addresses of members to join by; none: the broker is one of the first voters.
    pub join: Vec<String>,
    /// What fails together.
    pub rack: Option<String>,
    /// How often this broker tells that it is alive.
    pub heartbeat_interval: Duration,
    /// A broker that is not heard for so long is replaced.
    pub session_timeout: Duration,
}

impl ClusterConfig {
    pub(super) fn read(reader: &Reader<'_>, own: BrokerId) -> Result<ClusterConfig, ConfigError> {
        let voters = voters(reader)?;
        let join: Vec<String> = list(reader.text("cluster.join")).map(str::to_owned).collect();
        if !join.is_empty() && !voters.is_empty() {
            return Err(reader.illegal(
                "cluster.join",
                "give either cluster.voters, to a cluster's first brokers, or cluster.join, to one that comes later"
                    .to_owned(),
            ));
        }
        if !voters.is_empty() && !voters.contains_key(&own) {
            let expected = format!("it must name this broker too, as {own}@host:port (broker.id={own})");
            return Err(reader.illegal("cluster.voters", expected));
        }
        let rack = reader.text("broker.rack");
        let heartbeat_interval = reader.millis("broker.heartbeat.interval.ms", 10, 60_000)?;
        let session_timeout = reader.millis("broker.session.timeout.ms", 100, 600_000)?;
        if session_timeout < heartbeat_interval * 3 {
            let expected = format!(
                "it must be at least three times broker.heartbeat.interval.ms, {} ms",
                heartbeat_interval.as_millis()
            );
            return Err(reader.illegal("broker.session.timeout.ms", expected));
        }
        Ok(ClusterConfig {
            peer: reader.address("listener.peer")?,
            advertised_peer: reader.host_and_port("advertised.peer")?,
            voters,
            join,
            rack: (!rack.is_empty()).then(|| rack.to_owned()),
            heartbeat_interval,
            session_timeout,
        })
    }
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

fn voters(reader: &Reader<'_>) -> Result<BTreeMap<BrokerId, String>, ConfigError> {
    let mut voters = BTreeMap::new();
    for entry in list(reader.text("cluster.voters")) {
        let parsed = entry.split_once('@').and_then(|(id, address)| {
            let (host, port) = address.rsplit_once(':')?;
            let id = id.parse::<i32>().ok().filter(|id| *id >= 0)?;
            (!host.is_empty() && port.parse::<u16>().is_ok()).then(|| (BrokerId(id), address.to_owned()))
        });
        let twice = |(id, _): &(BrokerId, String)| voters.contains_key(id);
        match parsed.filter(|voter| !twice(voter)) {
            Some((id, address)) => drop(voters.insert(id, address)),
            None => {
                let expected =
                    "it must be id@host:port,..., each id once, such as 1@one:9095,2@two:9095,3@three:9095";
                return Err(reader.illegal("cluster.voters", expected.to_owned()));
            }
        }
    }
    Ok(voters)
}
