//! The real binary: a `dev` broker of its own per test, and commands against it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::allow_attributes,
    clippy::disallowed_methods,
    reason = "each test file uses another part of it, and none of it is an interface"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

pub const HIGHWATER: &str = env!("CARGO_BIN_EXE_highwater");

/// A command with an environment that says nothing.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(HIGHWATER);
    command.args(args).stdin(Stdio::null());
    for variable in ["HIGHWATER_BOOTSTRAP", "HIGHWATER_OUTPUT", "HIGHWATER_CONFIG"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command to its end.
pub fn run(args: &[&str]) -> Output {
    command(args).output().unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A broker started by `highwater dev`, killed when dropped.
pub struct Dev {
    pub child: Child,
    pub stdout: BufReader<ChildStdout>,
    pub ready: String,
    pub grpc: String,
    pub admin: String,
    pub data: String,
}

impl Dev {
    pub fn start() -> Dev {
        Dev::with(&[])
    }

    pub fn with(more: &[&str]) -> Dev {
        let mut args =
            vec!["dev", "--grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--kafka", "127.0.0.1:0"];
        args.extend(more);
        let mut child = command(&args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        stdout.read_line(&mut ready).unwrap();
        let field = |name: &str| {
            let from = ready.split_whitespace().find_map(|word| word.strip_prefix(&format!("{name}=")));
            let json = ready.split(&format!("\"{name}\":\"")).nth(1).and_then(|rest| rest.split('"').next());
            from.or(json).unwrap_or_default().to_owned()
        };
        let (grpc, admin, data) = (field("grpc"), field("admin"), field("data"));
        Dev { child, stdout, grpc, admin, data, ready }
    }

    /// A command against this broker.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("HIGHWATER_BOOTSTRAP", &self.grpc);
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed and returns its standard output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Pipes `input` through a command.
    pub fn pipe(&self, args: &[&str], input: &str) -> Output {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Asks for an orderly end; returns the exit code and what else was on standard output.
    pub fn terminate(mut self) -> (Option<i32>, String) {
        signal(&self.child, "TERM");
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }
}

pub fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster started by `highwater dev --brokers`, told to end when dropped.
pub struct DevCluster {
    pub child: Child,
    pub stderr: BufReader<std::process::ChildStderr>,
    pub ready: serde_json::Value,
}

impl DevCluster {
    pub fn start(brokers: usize, more: &[&str]) -> DevCluster {
        let brokers = brokers.to_string();
        let mut args = vec!["dev", "--brokers", &brokers, "--output", "json", "--grpc", "127.0.0.1:0"];
        args.extend(["--admin", "127.0.0.1:0", "--kafka", "127.0.0.1:0"]);
        args.extend(more);
        let mut command = command(&args);
        command.env("HIGHWATER_LOG", "error").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        DevCluster { child, stderr, ready: serde_json::from_str(&line).unwrap() }
    }

    pub fn bootstrap(&self) -> String {
        let addresses: Vec<&str> =
            self.ready["grpc"].as_array().unwrap().iter().map(|address| address.as_str().unwrap()).collect();
        addresses.join(",")
    }

    pub fn pid(&self, id: u64) -> u32 {
        let brokers = self.ready["brokers"].as_array().unwrap();
        let pid = brokers.iter().find(|broker| broker["id"] == id).unwrap()["pid"].as_u64().unwrap();
        u32::try_from(pid).unwrap()
    }

    pub fn kill_broker(&self, id: u64) {
        signal_pid(self.pid(id), "KILL");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = command(args);
        command.env("HIGHWATER_BOOTSTRAP", self.bootstrap());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    pub fn json(&self, args: &[&str]) -> serde_json::Value {
        let mut args = args.to_vec();
        args.extend(["--output", "json"]);
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// The next line that `dev` says about its brokers.
    pub fn said(&mut self, about: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "it ended and said nothing of {about:?}");
            if line.contains(about) {
                return line;
            }
        }
    }
}

impl Drop for DevCluster {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            signal(&self.child, "TERM");
        }
        let _ = self.child.wait();
    }
}

pub fn signal_pid(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until a process is gone.
pub fn wait_until_gone(pid: u32) {
    wait_for("the process to end", || !std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// Waits for a condition, a minute at most.
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = std::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < std::time::Duration::from_secs(60), "waited for {what}");
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
