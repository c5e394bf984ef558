//! A broker's process on its host, and the signals that it gets.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::host::in_namespace;

/// A process is gone this long after `kill -9`, or something is very wrong with the machine.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A process that was started. It is not ended by being dropped: the guardian ends what is left.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    end: Arc<Mutex<Option<ExitStatus>>>,
}

impl Process {
    /// Starts a broker in a namespace. What it says goes to the end of `log`.
    pub(super) fn start(binary: &Path, namespace: &str, config: &Path, log: &Path) -> Result<Process> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        let mut command = Command::new("nsenter");
        command.arg(in_namespace(namespace)).arg(binary).args(["broker", "--config"]).arg(config);
        for (variable, _) in std::env::vars_os() {
            if variable.to_str().is_some_and(|name| name.starts_with("HIGHWATER_") && name != "HIGHWATER_LOG")
            {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn().context("a broker cannot be started")?;
        let pid = Pid::from_raw(i32::try_from(child.id())?).context("a process has an id")?;
        let end = Arc::new(Mutex::new(None));
        let told = Arc::clone(&end);
        std::thread::spawn(move || {
            let status = child.wait().ok();
            *told.lock().unwrap_or_else(PoisonError::into_inner) = status;
        });
        Ok(Process { pid, end })
    }

    /// How it ended, if it has.
    pub(super) fn end(&self) -> Option<ExitStatus> {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its number.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        if let Some(status) = self.end() {
            bail!("process {} has ended: {status}", self.pid());
        }
        kill_process(self.pid, signal).with_context(|| format!("signal to process {}", self.pid()))
    }

    /// `kill -9`. Seen: it is gone.
    pub(super) fn kill(&self) -> Result<()> {
        if self.end().is_none() {
            self.signal(Signal::KILL)?;
        }
        self.wait_for_its_end(KILL_PATIENCE).map(|_| ())
    }

    /// Waits for its end.
    pub(super) fn wait_for_its_end(&self, patience: Duration) -> Result<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.end() {
                return Ok(status);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        bail!("process {} has not ended within {patience:?}", self.pid())
    }

    /// SIGSTOP. Seen: it is in state T.
    pub(super) fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.wait_for_state(|state| state == 'T')
    }

    /// SIGCONT. Seen: it is no longer in state T.
    pub(super) fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.wait_for_state(|state| state != 'T')
    }

    fn wait_for_state(&self, is_right: impl Fn(char) -> bool) -> Result<()> {
        let began = Instant::now();
        let mut state = None;
        while began.elapsed() < Duration::from_secs(5) {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            if state.is_some_and(&is_right) {
                return Ok(());
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        bail!("process {} is in state {state:?}", self.pid())
    }
}
