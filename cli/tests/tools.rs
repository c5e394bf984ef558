//! `quickstart`, `dump`, `bench`: that they do what they say, and their JSON keys. No figure is judged here.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests and their helpers")]

mod support;

use std::io::{Seek, SeekFrom, Write};

use support::{Dev, run, stderr, stdout};

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_quickstart_verifies_the_files_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let mut paths = Vec::new();
    for n in 0..3 {
        let path = folder.path().join(format!("{n}.log"));
        let mut file = std::fs::File::create(&path).unwrap();
        for line in 0..1_000 {
            writeln!(file, "{n}: line {line} with some text behind it").unwrap();
        }
        paths.push(path.to_str().unwrap().to_owned());
    }
    let mut args = vec!["quickstart", "--output", "json"];
    args.extend(paths.iter().map(String::as_str));
    let output = run(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let outcome = json(&stdout(&output));
    assert_eq!((&outcome["verified"], &outcome["records"]), (&true.into(), &3_000.into()));
    assert!(outcome["replayed_from_offset"].as_u64().unwrap() > 0);
    assert!(outcome["replayed_from_time"].as_u64().unwrap() > 0);
    let text = run(&["quickstart", &paths[0]]);
    assert!(stdout(&text).contains("every byte equal"), "{}", stdout(&text));
    assert_eq!(run(&["quickstart", "/nowhere"]).status.code(), Some(3));
}

#[test]
fn dump_verifies_every_checksum_and_finds_a_flipped_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let dev = Dev::with(&["--data-dir", path]);
    dev.ok(&["topic", "create", "t"]);
    let text: String = (0..2_000).map(|n| format!("{n}\n")).collect();
    assert!(dev.pipe(&["produce", "t"], &text).status.success());
    assert_eq!(dev.terminate().0, Some(0));

    let good = run(&["dump", path, "--output", "json", "--batches"]);
    assert!(good.status.success(), "{}", stderr(&good));
    let report = json(&stdout(&good));
    assert_eq!(report["damaged"], 0);
    let segment = &report["partitions"][0]["segments"][0];
    assert_eq!((&segment["records"], &segment["end_offset"]), (&2_000.into(), &2_000.into()));
    assert!(!segment["listed"].as_array().unwrap().is_empty());

    let dir = report["partitions"][0]["path"].as_str().unwrap();
    let log = std::path::Path::new(dir).join(segment["file"].as_str().unwrap());
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&log).unwrap();
    file.seek(SeekFrom::Start(100)).unwrap();
    file.write_all(b"!").unwrap();
    let bad = run(&["dump", log.to_str().unwrap()]);
    assert_eq!(bad.status.code(), Some(5), "{}", stdout(&bad));
    assert!(stdout(&bad).contains("DAMAGED"));
    assert_eq!(run(&["dump", "/nowhere"]).status.code(), Some(3));
}

#[test]
fn benchmarks_report_the_documented_keys() {
    let dev = Dev::start();
    let common = ["--warmup", "0s", "--record-size", "100", "--admin", &dev.admin];
    let runs: [&[&str]; 4] = [
        &["bench", "produce", "-n", "2000", "--clients", "2", "-p", "2"],
        &["bench", "produce", "-n", "200", "--rate", "2000"],
        &["bench", "consume", "-n", "2000", "--per-record"],
        &["bench", "latency", "-n", "200", "--rate", "1000"],
    ];
    for args in runs {
        let report = dev.json(&[args, &common].concat());
        for key in ["msgs", "mb_s", "p50_us", "p99_us", "p999_us", "server_cpu_s_per_gb", "server_rss_mb"] {
            assert!(report[key].is_number(), "{args:?}: {key} in {report}");
        }
        assert_eq!(report["errors"], 0);
        assert_eq!(report["msgs"].as_u64().unwrap().to_string(), args[3], "{report}");
    }
    assert_eq!(
        dev.json(&["topic", "list"])["topics"].as_array().unwrap().len(),
        0,
        "fresh topics are deleted"
    );
}
