//! The real binary: a `dev` broker of its own per test, and commands against it.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::allow_attributes,
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
