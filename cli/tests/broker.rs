//! `dev` and `broker`: the ready line, signals, and what a wrong configuration is told.
#![expect(clippy::disallowed_methods, reason = "tests and their helpers")]

mod support;

use std::path::Path;

use support::{Dev, run, stderr};

#[test]
fn dev_says_once_that_it_is_ready_and_where() {
    let dev = Dev::start();
    let words: Vec<&str> = dev.ready.split_whitespace().collect();
    let keys: Vec<&str> = words.iter().map(|word| word.split('=').next().unwrap()).collect();
    assert_eq!(keys, ["ready", "grpc", "admin", "data", "pid", "kafka"]);
    assert_eq!(words[4], format!("pid={}", dev.child.id()));
    assert!(dev.grpc.starts_with("127.0.0.1:") && !dev.grpc.ends_with(":0"), "{}", dev.grpc);
    let data = dev.data.clone();
    assert!(Path::new(&data).is_dir());
    let (code, rest) = dev.terminate();
    assert_eq!((code, rest.as_str()), (Some(0), ""));
    assert!(!Path::new(&data).exists(), "the temporary folder is removed");
}

#[test]
fn with_json_the_ready_line_is_one_object() {
    let dev = Dev::with(&["--output", "json"]);
    let ready: serde_json::Value = serde_json::from_str(&dev.ready).unwrap();
    assert_eq!(ready["pid"], dev.child.id());
    for key in ["grpc", "admin", "data", "kafka"] {
        assert!(ready[key].is_string(), "{key}");
    }
    assert!(ready["start_ms"].as_f64().unwrap() > 0.0);
}

#[test]
fn data_given_a_folder_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let dev = Dev::with(&["--data-dir", path]);
    dev.ok(&["topic", "create", "kept"]);
    assert!(dev.pipe(&["produce", "kept"], "one\ntwo\n").status.success());
    assert_eq!(dev.terminate().0, Some(0));
    let dev = Dev::with(&["--data-dir", path]);
    assert_eq!(dev.ok(&["consume", "kept", "--from-beginning", "--until-end"]), "one\ntwo\n");
    assert_eq!(dev.terminate().0, Some(0));
    assert!(folder.path().is_dir(), "a given folder stays");
}

#[test]
fn a_second_broker_on_the_same_port_or_folder_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let dev = Dev::with(&["--data-dir", path]);
    let port = run(&["dev", "--grpc", &dev.grpc, "--admin", "127.0.0.1:0", "--kafka", "127.0.0.1:0"]);
    assert_eq!(port.status.code(), Some(1));
    assert!(stderr(&port).contains(&dev.grpc), "{}", stderr(&port));
    let same = run(&[
        "dev",
        "--grpc",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--kafka",
        "127.0.0.1:0",
        "--data-dir",
        path,
    ]);
    assert_eq!(same.status.code(), Some(1));
    assert!(stderr(&same).contains(path), "{}", stderr(&same));
}

#[test]
fn a_wrong_setting_is_named_with_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("broker.toml");
    let mut config = std::fs::File::create(&file).unwrap();
    std::io::Write::write_all(&mut config, b"[listener]\ngrcp = \"127.0.0.1:0\"\n").unwrap();
    let output = run(&["broker", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(text.contains("listener.grcp") && text.contains("listener.grpc"), "{text}");
    let missing = run(&["broker", "--config", "/nowhere/broker.toml"]);
    assert_eq!(missing.status.code(), Some(2));
    assert!(stderr(&missing).contains("/nowhere/broker.toml"));
}
