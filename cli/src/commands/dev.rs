//! `highwater dev`: a single broker with no set-up.

use std::net::SocketAddr;
use std::path::PathBuf;

use highwater_server::BrokerConfig;

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
}

pub(crate) async fn run(args: Args, global: &Global) -> CliResult {
    let started = broker::now();
    broker::init_logs();
    let data = match args.data_dir {
        Some(dir) => DataFolder::Given(dir),
        None => {
            let folder = tempfile::Builder::new().prefix("highwater-dev-").tempdir();
            DataFolder::Temporary(
                folder.map_err(|error| CliError::failed(format!("no temporary folder: {error}")))?,
            )
        }
    };
    let config = BrokerConfig { grpc: args.grpc, admin: args.admin, ..BrokerConfig::ephemeral(data.path()) };
    broker::serve(config, data, global.output, started).await
}
