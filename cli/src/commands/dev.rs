//! `highwater dev`: a broker, or a whole cluster, with no set-up.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;

use highwater_server::{BrokerConfig, IfTaken, KafkaListener};
use serde::Serialize;

use crate::args::Global;
use crate::commands::broker::{self, DataFolder, Parent, Ready, TEMPORARY};
use crate::exit::{CliError, CliResult};
use crate::local::{LocalCluster, Plan, Wishes};
use crate::output::{Format, note, print};

/// Options of `dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many; each is a process of its own.
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=15), value_name = "N")]
    brokers: u16,
    /// Keep data here. Without it, a fresh temporary folder that is removed at a clean exit.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where gRPC listens; port 0 picks a free one. Of several brokers, each next one is ten ports up.
    #[arg(long, default_value = "127.0.0.1:9094", value_name = "ADDR")]
    grpc: SocketAddr,
    /// Where admin HTTP listens; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:9644", value_name = "ADDR")]
    admin: SocketAddr,
    /// Where the Kafka protocol is spoken; port 0 picks a free one, and `none` is nowhere. Unless it is given, a free
    /// port is taken when 9092 is not free.
    #[arg(long, value_name = "ADDR")]
    kafka: Option<String>,
}

const KAFKA_DEFAULT: &str = "localhost:9092";

impl Args {
    fn kafka(&self) -> Result<Vec<KafkaListener>, CliError> {
        let (text, if_taken) = match self.kafka.as_deref() {
            Some("none") => return Ok(Vec::new()),
            Some(text) => (text, IfTaken::Fail),
            None => (KAFKA_DEFAULT, IfTaken::AnyPort),
        };
        let listener = KafkaListener::parse(text).ok_or_else(|| {
            CliError::usage(format!(
                "--kafka {text} is not an address and a port, such as 127.0.0.1:9092 or localhost:9092"
            ))
        })?;
        Ok(vec![KafkaListener { if_taken, ..listener }])
    }

    fn data(&self) -> CliResult<DataFolder> {
        if let Some(dir) = &self.data_dir {
            return Ok(DataFolder::Given(dir.clone()));
        }
        let folder = tempfile::Builder::new().prefix("highwater-dev-").tempdir();
        folder
            .map(DataFolder::Temporary)
            .map_err(|error| CliError::failed(format!("no temporary folder: {error}")))
    }
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let started = broker::now();
    broker::init_logs(String::new());
    let data = args.data()?;
    if args.brokers > 1 {
        return run_cluster(&args, data, global.output, started).await;
    }
    let kafka = args.kafka()?;
    let config =
        BrokerConfig { grpc: args.grpc, admin: args.admin, kafka, ..BrokerConfig::ephemeral(data.path()) };
    broker::serve(config, data, global.output, started, Parent::Nobody).await
}

/// The line that says that all brokers serve.
#[derive(Serialize)]
struct ClusterReady {
    grpc: Vec<String>,
    admin: Vec<String>,
    kafka: Vec<String>,
    data: String,
    pid: u32,
    brokers: Vec<BrokerReady>,
    start_ms: f64,
}

#[derive(Serialize)]
struct BrokerReady {
    id: i32,
    pid: u32,
    grpc: String,
    admin: String,
    kafka: String,
    peer: String,
}

impl ClusterReady {
    fn new(cluster: &LocalCluster, data: &DataFolder, started: Instant) -> ClusterReady {
        let all = |of: fn(&Ready) -> &String| cluster.brokers().map(|(_, ready)| of(ready).clone()).collect();
        let broker = |(id, ready): (i32, &Ready)| BrokerReady {
            id,
            pid: ready.pid,
            grpc: ready.grpc.clone(),
            admin: ready.admin.clone(),
            kafka: ready.kafka.clone(),
            peer: ready.peer.clone(),
        };
        ClusterReady {
            grpc: all(|ready| &ready.grpc),
            admin: all(|ready| &ready.admin),
            kafka: all(|ready| &ready.kafka),
            data: data.path().display().to_string(),
            pid: std::process::id(),
            brokers: cluster.brokers().map(broker).collect(),
            start_ms: started.elapsed().as_secs_f64() * 1e3,
        }
    }

    fn text(&self) -> String {
        let pids: Vec<String> = self.brokers.iter().map(|b| format!("{}:{}", b.id, b.pid)).collect();
        format!(
            "ready grpc={} admin={} data={} pid={} kafka={} brokers={}\n",
            self.grpc.join(","),
            self.admin.join(","),
            self.data,
            self.pid,
            self.kafka.join(","),
            pids.join(",")
        )
    }
}

async fn run_cluster(args: &Args, data: DataFolder, format: Format, started: Instant) -> CliResult {
    let stop = broker::told_to_stop(Parent::Nobody)?;
    tokio::pin!(stop);
    let wishes =
        Wishes { brokers: args.brokers, grpc: args.grpc, admin: args.admin, kafka: args.kafka.clone() };
    let plan = Plan::make(&wishes, data.path())?;
    let mut cluster = tokio::select! {
        cluster = LocalCluster::start(plan) => cluster?,
        () = &mut stop => return data.remove_if_temporary(),
    };
    print(format, &ClusterReady::new(&cluster, &data, started), ClusterReady::text)?;
    if let DataFolder::Temporary(_) = data {
        note(TEMPORARY);
    }
    loop {
        tokio::select! {
            () = &mut stop => break,
            ended = cluster.ended() => {
                note(&format!(
                    "broker {} (pid {}) {}; it is not started again, the others go on\n  `{}` brings it back",
                    ended.id, ended.pid, ended.how, cluster.command_of(ended.id)
                ));
                if cluster.brokers().next().is_none() {
                    return Err(CliError::failed("no broker is left"));
                }
            }
        }
    }
    let stopped = cluster.stop().await;
    data.remove_if_temporary()?;
    stopped
}
