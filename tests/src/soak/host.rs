//! The machine's own tools: what the soak needs of them, and how they are called.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Without these there is no bed.
const TOOLS: &[&str] = &[
    "ip",
    "nft",
    "tc",
    "mount",
    "umount",
    "losetup",
    "nsenter",
    "fallocate",
    "mkfs.ext4",
    "mkfs.xfs",
    "xfs_io",
];

/// Why the soak cannot run on this machine; `None` if it can.
pub(super) fn lacks() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make network namespaces and mount file systems".to_owned());
    }
    let missing: Vec<&str> = TOOLS.iter().copied().filter(|tool| !is_installed(tool)).collect();
    if !missing.is_empty() {
        return Some(format!("not installed: {}", missing.join(", ")));
    }
    let trial = format!("hws{}-try", std::process::id());
    if let Err(error) = run("ip", &["netns", "add", &trial]) {
        return Some(format!("no network namespaces: {error:#}"));
    }
    let tables = run("nsenter", &[&in_namespace(&trial), "nft", "add", "table", "inet", "soak"]);
    let gone = run("ip", &["netns", "del", &trial]);
    if let Err(error) = tables.and(gone) {
        return Some(format!("no packet filter in a network namespace: {error:#}"));
    }
    run("losetup", &["-f"]).err().map(|error| format!("no loop devices: {error:#}"))
}

fn is_installed(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(tool).is_file())
}

/// `nsenter`'s option that leads into a network namespace (and, unlike `ip netns exec`, into no other mounts).
pub(super) fn in_namespace(name: &str) -> String {
    format!("--net=/run/netns/{name}")
}

/// Runs a tool to its end; what it printed.
pub(super) fn run(tool: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{tool} cannot be run"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{tool} {}: {}, {}", arguments.join(" "), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
