//! One broker's process: started, waited for, told to stop.

use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::plan::{BrokerPlan, Logs};
use crate::commands::broker::Ready;
use crate::exit::{CliError, CliResult};

/// A process that was started and has not said that it is ready.
#[derive(Debug)]
pub(super) struct Starting {
    pub(super) id: i32,
    pub(super) child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// A broker that serves.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) ready: Ready,
    pub(super) child: Child,
    /// The broker stops in order when this is dropped.
    pub(super) stdin: ChildStdin,
}

/// Starts a broker's process.
pub(super) fn start(plan: &BrokerPlan, logs: Logs) -> CliResult<Starting> {
    let failed = |error| CliError::failed(format!("broker {} cannot be started: {error}", plan.id));
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(["broker", "--child", "--output", "json", "--config"]).arg(&plan.config);
    // Settings in this command's environment are not meant for each of several brokers.
    for (variable, _) in std::env::vars_os() {
        if variable.to_str().is_some_and(|name| name.starts_with("HIGHWATER_") && name != "HIGHWATER_LOG") {
            command.env_remove(variable);
        }
    }
    if logs == Logs::Nothing && std::env::var_os("HIGHWATER_LOG").is_none() {
        command.env("HIGHWATER_LOG", "off");
    }
    // A process group of its own: Ctrl-C is for the command, which then stops the brokers.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn().map_err(failed)?;
    let stdin = child.stdin.take().expect("it was asked for");
    let stdout = BufReader::new(child.stdout.take().expect("it was asked for"));
    Ok(Starting { id: plan.id, child, stdin, stdout })
}

impl Starting {
    /// Waits for the ready line.
    pub(super) async fn ready(mut self) -> CliResult<Serving> {
        let mut line = String::new();
        // An error reads like an end: no line.
        let _ = self.stdout.read_line(&mut line).await;
        match serde_json::from_str(&line) {
            Ok(ready) => Ok(Serving { ready, child: self.child, stdin: self.stdin }),
            Err(_) => {
                let how = self.child.wait().await.map_or_else(|error| error.to_string(), describe);
                Err(CliError::failed(format!("broker {} did not start: it {how}", self.id)))
            }
        }
    }
}

/// How a process ended, in words.
pub(super) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => "was killed (signal 9)".to_owned(),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
