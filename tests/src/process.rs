//! A broker as a process of its own, so that it can really be killed.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A broker stops within this time of being asked to.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A running `highwater dev`. Killed when dropped.
#[derive(Debug)]
pub struct BrokerProcess {
    child: Child,
    /// Taken by whoever waits for its end.
    stdout: Option<BufReader<ChildStdout>>,
    /// Where it serves gRPC, as `host:port`.
    pub grpc: String,
    /// Where it serves admin HTTP, as `host:port`.
    pub admin: String,
    /// Where it speaks the Kafka protocol, as `host:port`.
    pub kafka: String,
    /// From the start of the process to its ready line, as the broker measured it.
    pub start_ms: f64,
}

/// The binary that was built with this program: beside it, or a folder above if this is a test.
///
/// # Errors
/// It isn't there: this program was built without it.
pub fn highwater_binary() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.parent().context("a program is in a folder")?;
    let folder = if beside.ends_with("deps") { beside.parent().unwrap_or(beside) } else { beside };
    let binary = folder.join("highwater");
    if !binary.exists() {
        bail!("{} is not built: run `cargo test --workspace`, or `cargo build` first", binary.display());
    }
    Ok(binary)
}

impl BrokerProcess {
    /// Starts a broker over `data_dir` on free ports and waits until it serves.
    ///
    /// # Errors
    /// It did not start; what it said is in the error.
    pub fn start(data_dir: &Path, arguments: &[&str]) -> Result<BrokerProcess> {
        let mut child = Command::new(highwater_binary()?)
            .args([
                "dev",
                "--grpc",
                "127.0.0.1:0",
                "--admin",
                "127.0.0.1:0",
                "--kafka",
                "127.0.0.1:0",
                "--output",
                "json",
                "--data-dir",
            ])
            .arg(data_dir)
            .args(arguments)
            .env("HIGHWATER_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("piped")?);
        let mut ready = String::new();
        stdout.read_line(&mut ready)?;
        let Ok(line) = serde_json::from_str::<serde_json::Value>(&ready) else {
            let mut said = String::new();
            child.stderr.take().context("piped")?.read_to_string(&mut said)?;
            bail!("the broker did not start: {ready:?}, {said}");
        };
        // Somebody must read what it logs, or it stops at a full pipe.
        let mut stderr = child.stderr.take().context("piped")?;
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        let text =
            |key: &str| line[key].as_str().map(str::to_owned).with_context(|| format!("{key} in {ready}"));
        let start_ms = line["start_ms"].as_f64().context("start_ms")?;
        Ok(BrokerProcess {
            grpc: text("grpc")?,
            admin: text("admin")?,
            kafka: text("kafka")?,
            start_ms,
            child,
            stdout: Some(stdout),
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`: it gets no chance to flush or say anything.
    ///
    /// # Errors
    /// It was gone already.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It could not be asked, or did not stop in time.
    pub fn stop(mut self) -> Result<ExitStatus> {
        Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        // Its standard output ends when it does.
        let mut stdout = self.stdout.take().context("nobody else waits for it")?;
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || ended.send(stdout.read_to_string(&mut String::new())));
        match end.recv_timeout(STOP_MAX) {
            Ok(read) => {
                read?;
                Ok(self.child.wait()?)
            }
            Err(_) => bail!("the broker did not stop within {STOP_MAX:?} of SIGTERM"),
        }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
