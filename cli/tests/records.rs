//! `produce`, `consume`, `offsets`, `topic`: round trips, JSON keys, exit codes, pipes.
#![expect(clippy::unwrap_used, reason = "tests and their helpers")]

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use support::{Dev, run, signal, stderr, stdout};

fn keys(object: &serde_json::Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn lines_go_in_and_come_out_with_keys_offsets_and_times() {
    let dev = Dev::start();
    dev.ok(&["topic", "create", "t", "--partitions", "2"]);
    let sent = dev.pipe(&["produce", "t", "--key-separator", ":", "--partition", "1"], "a:1\nb:2:3\nplain\n");
    assert!(sent.status.success(), "{}", stderr(&sent));
    assert_eq!(stdout(&sent), "", "the summary is not for standard output");
    assert!(
        stderr(&sent).contains("3 records") && stderr(&sent).contains("offsets 0 to 2"),
        "{}",
        stderr(&sent)
    );

    let all = ["consume", "t", "--from-beginning", "--until-end"];
    assert_eq!(dev.ok(&all), "1\n2:3\nplain\n");
    assert_eq!(dev.ok(&[&all[..], &["--format", "key"]].concat()), "a\nb\n\n");
    assert_eq!(
        dev.ok(&[&all[..], &["--format", "key-value", "--key-separator", "="]].concat()),
        "a=1\nb=2:3\n=plain\n"
    );
    let json = dev.ok(&[&all[..], &["--format", "json"]].concat());
    let records: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        keys(&records[0]),
        ["headers", "key", "offset", "partition", "timestamp", "timestamp_ms", "topic", "value"]
    );
    assert_eq!(
        (&records[1]["key"], &records[1]["value"], &records[1]["offset"]),
        (&"b".into(), &"2:3".into(), &1.into())
    );
    assert!(records[2]["key"].is_null());
    assert_eq!(records[2]["partition"], 1);
}

#[test]
fn a_replay_starts_at_an_offset_or_a_time_and_stops_where_it_is_told() {
    let dev = Dev::start();
    dev.ok(&["topic", "create", "t"]);
    assert!(dev.pipe(&["produce", "t"], "0\n1\n2\n3\n4\n").status.success());
    let consume = |more: &[&str]| dev.ok(&[&["consume", "t", "--until-end"], more].concat());
    assert_eq!(consume(&["--offset", "3"]), "3\n4\n");
    assert_eq!(consume(&["--offset", "-2"]), "3\n4\n");
    assert_eq!(consume(&["--from-time", "-2h"]), "0\n1\n2\n3\n4\n");
    assert_eq!(consume(&["--from-time", "2100-01-01T00:00:00Z"]), "");
    assert_eq!(consume(&["--from-beginning", "-n", "2"]), "0\n1\n");
    let out_of_range = dev.run(&["consume", "t", "--offset", "99", "--until-end", "-n", "1"]);
    assert_eq!(stdout(&out_of_range), "");
}

#[test]
fn every_codec_round_trips() {
    let dev = Dev::start();
    let text: String = (0..500).map(|n| format!("line {n} of text that compresses well\n")).collect();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        dev.ok(&["topic", "create", codec]);
        let sent = dev.pipe(&["produce", codec, "--compression", codec], &text);
        assert!(sent.status.success(), "{codec}: {}", stderr(&sent));
        assert_eq!(dev.ok(&["consume", codec, "--from-beginning", "--until-end"]), text, "{codec}");
    }
}

#[test]
fn listings_have_the_documented_keys() {
    let dev = Dev::start();
    let created = dev.json(&["topic", "create", "t", "-p", "2", "-c", "retention.ms=60000"]);
    assert_eq!(keys(&created), ["created", "id", "name", "partitions", "replication_factor"]);
    let again = dev.json(&["topic", "create", "t", "--if-not-exists"]);
    assert_eq!(
        (&again["created"], &again["partitions"], &again["id"]),
        (&false.into(), &2.into(), &created["id"])
    );
    assert!(dev.pipe(&["produce", "t", "-p", "0"], "x\n").status.success());

    let list = dev.json(&["topic", "list"]);
    assert_eq!(keys(&list["topics"][0]), ["id", "name", "partitions", "records", "size_bytes"]);
    assert_eq!(list["topics"][0]["records"], 1);

    let described = dev.json(&["topic", "describe", "t"]);
    assert_eq!(keys(&described), ["configs", "id", "name", "partitions"]);
    let partition = [
        "adding",
        "elr",
        "high_watermark",
        "in_sync_replicas",
        "isr",
        "leader",
        "leader_epoch",
        "log_end_offset",
        "log_start_offset",
        "offline_reason",
        "partition",
        "partition_epoch",
        "removing",
        "replica_states",
        "replicas",
        "size_bytes",
    ];
    assert_eq!(keys(&described["partitions"][0]), partition);
    let retention =
        described["configs"].as_array().unwrap().iter().find(|c| c["name"] == "retention.ms").unwrap();
    assert_eq!((&retention["value"], &retention["source"]), (&"60000".into(), &"topic".into()));

    let offsets = dev.json(&["offsets", "t", "--at", "-1h"]);
    assert_eq!(keys(&offsets["partitions"][0]), ["at", "earliest", "latest", "partition", "records"]);
    assert_eq!(offsets["partitions"][0]["latest"], 1);

    let altered = dev.json(&["topic", "alter", "t", "--unset", "retention.ms", "--partitions", "3"]);
    assert_eq!(keys(&altered), ["name", "partitions", "set", "unset"]);
    assert_eq!(dev.json(&["topic", "describe", "t"])["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(dev.json(&["topic", "delete", "t"])["deleted"], true);
    assert_eq!(dev.json(&["topic", "delete", "t", "--if-exists"])["deleted"], false);

    let sent = dev.pipe(&["produce", "u", "--output", "json"], "");
    assert_eq!(sent.status.code(), Some(3), "there is no such topic");
    dev.ok(&["topic", "create", "u"]);
    let sent = dev.pipe(&["produce", "u", "--output", "json"], "x\ny\n");
    let summary: serde_json::Value = serde_json::from_str(&stderr(&sent)).unwrap();
    let expected = ["bytes", "failed", "mb_s", "partitions", "records", "records_per_s", "seconds", "topic"];
    assert_eq!(keys(&summary), expected);
    assert_eq!(keys(&summary["partitions"][0]), ["first_offset", "last_offset", "partition", "records"]);
}

#[test]
fn typos_get_a_suggestion_and_exit_codes_say_what_kind_of_failure_it_was() {
    let dev = Dev::start();
    dev.ok(&["topic", "create", "orders"]);
    let check = |args: &[&str], code: i32, says: &str| {
        let output = dev.run(args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(text.contains(says), "{args:?}: {text}");
        assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    };
    check(&["topic", "describe", "ordres"], 3, "did you mean 'orders'?");
    check(&["consume", "oders"], 3, "did you mean 'orders'?");
    check(&["consume", "orders", "--partition", "7"], 3, "no partition 7");
    check(&["topci", "list"], 2, "'topic'");
    check(&["topic", "create", "orders"], 1, "orders");
    check(&["topic", "create", "a b"], 1, "a b");
    check(&["topic", "create", "x", "-c", "retenton.ms=1"], 1, "retention.ms");
    check(&["topic", "alter", "orders"], 2, "--set");
    check(&["consume", "orders", "--from-time", "yesterday"], 2, "-2h");
    check(&["produce", "orders", "--file", "/nowhere/text"], 3, "/nowhere/text");
    check(&["produce", "orders", "--compression", "zip"], 2, "zstd");
    let nobody = run(&["topic", "list", "--bootstrap", "127.0.0.1:1"]);
    assert_eq!(nobody.status.code(), Some(4));
    assert!(stderr(&nobody).contains("127.0.0.1:1") && stderr(&nobody).contains("highwater dev"));
    assert_eq!(run(&["topic", "list", "--bootstrap", "nonsense"]).status.code(), Some(2));
}

#[test]
fn a_reader_that_closes_the_pipe_ends_consume_quietly() {
    let dev = Dev::start();
    dev.ok(&["topic", "create", "t"]);
    let text: String = (0..200_000).map(|n| format!("a line that makes the pipe full {n}\n")).collect();
    assert!(dev.pipe(&["produce", "t"], &text).status.success());
    let mut command = dev.command(&["consume", "t", "--from-beginning"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(first, "a line that makes the pipe full 0\n");
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
}

#[test]
fn consume_shows_what_comes_in_and_ends_cleanly_at_ctrl_c() {
    let dev = Dev::start();
    dev.ok(&["topic", "create", "t"]);
    assert!(dev.pipe(&["produce", "t"], "old\n").status.success());
    let mut command = dev.command(&["consume", "t", "--offset", "0"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "old");
    assert!(dev.pipe(&["produce", "t"], "new\n").status.success());
    assert_eq!(lines.next().unwrap().unwrap(), "new");
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let output = run(&["completions", shell]);
        assert!(output.status.success() && stdout(&output).contains("quickstart"), "{shell}");
    }
}
