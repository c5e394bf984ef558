//! `highwater health`: whether the broker on this machine is ready, for health checks of containers and load balancers.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Serialize;

use crate::args::Global;
use crate::exit::{CliError, CliResult, Exit};
use crate::output::print;

/// The broker has this long for each step.
const PATIENCE: Duration = Duration::from_secs(2);

/// Options of `health`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The broker's admin listener.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "HIGHWATER_LISTENER_ADMIN",
        default_value = "127.0.0.1:9644"
    )]
    admin: String,
}

#[derive(Serialize)]
struct Health {
    ready: bool,
    says: String,
}

pub(crate) fn run(args: &Args, global: &Global) -> CliResult {
    // A listener on all addresses is reached by the loopback one.
    let address = args.admin.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let unreachable =
        |why: String| CliError::new(Exit::Unreachable, format!("no broker answers at {address}: {why}"));
    let (status, says) = ask(&address).map_err(|error| unreachable(error.to_string()))?;
    let health = Health { ready: status == 200, says: says.trim().to_owned() };
    print(global.output, &health, |health| format!("{}\n", health.says))?;
    if health.ready { Ok(()) } else { Err(CliError::failed(String::new())) }
}

/// The status and the text of `/readyz`.
fn ask(address: &str) -> std::io::Result<(u16, String)> {
    let nowhere = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name leads nowhere");
    let address = address.to_socket_addrs()?.next().ok_or_else(nowhere)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let strange = || std::io::Error::new(std::io::ErrorKind::InvalidData, "it does not answer like a broker");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(strange)?;
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).ok_or_else(strange)?;
    Ok((status, body.to_owned()))
}
