//! `highwater dev`: a single broker with no set-up.

use std::net::SocketAddr;
use std::path::PathBuf;

use highwater_server::{BrokerConfig, IfTaken, KafkaListener};

use crate::args::Global;
use crate::commands::broker::{self, DataFolder};
use crate::exit::{CliError, CliResult};

/// Options of `dev`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep data here. Without it, a fresh temporary folder that is removed at a clean exit.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where gRPC listens; port 0 picks a free one.
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
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let started = broker::now();
    broker::init_logs();
    let kafka = args.kafka()?;
    let data = match args.data_dir {
        Some(dir) => DataFolder::Given(dir),
        None => {
            let folder = tempfile::Builder::new().prefix("highwater-dev-").tempdir();
            DataFolder::Temporary(
                folder.map_err(|error| CliError::failed(format!("no temporary folder: {error}")))?,
            )
        }
    };
    let config =
        BrokerConfig { grpc: args.grpc, admin: args.admin, kafka, ..BrokerConfig::ephemeral(data.path()) };
    broker::serve(config, data, global.output, started).await
}
