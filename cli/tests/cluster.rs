//! `dev --brokers`: real processes, one of them killed.

mod support;

use std::path::Path;

use support::{DevCluster, run, signal, stderr, wait_for, wait_until_gone};

#[test]
fn a_cluster_says_once_that_it_is_ready_and_goes_on_without_a_broker_that_is_killed() {
    let mut cluster = DevCluster::start(3, &[]);
    let ready = cluster.ready.clone();
    assert_eq!(ready["grpc"].as_array().unwrap().len(), 3);
    let brokers = ready["brokers"].as_array().unwrap();
    for (broker, id) in brokers.iter().zip(1..) {
        assert_eq!(broker["id"], id);
        for key in ["grpc", "admin", "kafka", "peer"] {
            assert!(broker[key].as_str().unwrap().contains(':'), "{key} of {broker}");
        }
        assert!(Path::new(&format!("/proc/{}", broker["pid"])).exists(), "a process of its own");
    }
    let created = cluster.json(&["topic", "create", "t", "-p", "3"]);
    assert_eq!(created["replication_factor"], 3);
    cluster.kill_broker(2);
    let said = cluster.said("broker 2");
    assert!(said.contains("killed") && said.contains("not started again"), "{said}");
    let hint = cluster.said("brings it back");
    assert!(hint.contains("highwater broker --config"), "{hint}");

    let data = ready["data"].as_str().unwrap().to_owned();
    assert!(Path::new(&data).is_dir());
    signal(&cluster.child, "INT");
    assert_eq!(cluster.child.wait().unwrap().code(), Some(0));
    assert!(!Path::new(&data).exists(), "the temporary folder is removed");
    for id in [1, 3] {
        wait_until_gone(cluster.pid(id));
    }
}

#[test]
fn no_broker_outlives_the_command_even_if_that_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut cluster = DevCluster::start(2, &["--data-dir", folder.path().to_str().unwrap()]);
    signal(&cluster.child, "KILL");
    cluster.child.wait().unwrap();
    for id in [1, 2] {
        wait_until_gone(cluster.pid(id));
    }
    // The folder says how many brokers it holds.
    let path = folder.path().to_str().unwrap();
    let wrong = run(&["dev", "--brokers", "3", "--grpc", "127.0.0.1:0", "--data-dir", path]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("--brokers 2"), "{}", stderr(&wrong));
}

#[test]
fn the_cluster_is_shown_and_changed_while_a_broker_is_down_and_without_a_majority_it_says_so() {
    let cluster = DevCluster::start(3, &[]);
    cluster.ok(&["topic", "create", "t", "-p", "3", "--replication-factor", "2"]);
    let status = cluster.json(&["cluster", "status"]);
    assert_eq!((&status["healthy"], &status["partitions"]), (&true.into(), &3.into()));
    assert_eq!(status["brokers"].as_array().unwrap().len(), 3);
    assert!(cluster.ok(&["cluster", "status"]).contains("healthy"));
    assert!(cluster.ok(&["cluster", "brokers"]).contains(cluster.ready["grpc"][1].as_str().unwrap()));

    cluster.ok(&["reassign", "-t", "t", "--throttle", "50000000"]);
    let rate = || {
        let described = cluster.json(&["topic", "describe", "t"]);
        let configs = described["configs"].as_array().unwrap().clone();
        configs.iter().find(|c| c["name"] == "replication.throttle.rate").unwrap()["value"].clone()
    };
    assert_eq!(rate(), "50000000");
    cluster.ok(&["reassign", "-t", "t", "--throttle", "none"]);
    assert_eq!(rate(), "-1");
    let moved = cluster.json(&["reassign", "-t", "t", "-p", "0", "--replicas", "3,1", "--wait"]);
    assert_eq!(moved["moves"][0]["replicas"], serde_json::json!([3, 1]));
    cluster.ok(&["elect", "-t", "t"]);
    let partition = || cluster.json(&["topic", "describe", "t"])["partitions"][0].clone();
    wait_for("the preferred leader", || partition()["leader"] == 3);
    let now = partition();
    assert_eq!((now["isr"].as_array().unwrap().len(), &now["elr"]), (2, &serde_json::json!([])));
    assert_eq!(now["replica_states"].as_array().unwrap().len(), 2);
    assert!(now["leader_epoch"].is_i64() && now["partition_epoch"].is_i64());

    for (args, code) in [
        (&["cluster", "decommission", "9"][..], 3),
        (&["reassign", "-t", "t", "--throttle", "0"], 2),
        (&["cluster", "voters", "add", "9"], 3),
        (&["reassign", "-t", "t"], 2),
        (&["reassign", "-t", "t", "--brokers", "1"], 2),
        (&["reassign", "-t", "t", "-p", "9", "--replicas", "1,2"], 3),
        (&["reassign", "-t", "t", "-p", "0", "--replicas", "1,9"], 1),
        (&["elect", "-t", "nothing"], 3),
        (&["elect", "--unclean"], 2),
        (&["topic", "create", "u", "--replication-factor", "4"], 1),
    ] {
        let output = cluster.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).starts_with("error: "), "{args:?}: {}", stderr(&output));
    }

    cluster.kill_broker(1);
    wait_for("the others to notice", || {
        cluster.json(&["cluster", "status"])["brokers"][0]["state"] == "fenced"
    });
    cluster.ok(&["topic", "create", "later", "--replication-factor", "2"]);
    cluster.kill_broker(2);
    let refused = cluster.run(&["topic", "create", "too-late", "--timeout-ms", "2000"]);
    assert!(matches!(refused.status.code(), Some(1 | 4)), "without a majority: {}", stderr(&refused));
    // Nor is anything acknowledged, and it is said why.
    let stalled = cluster.run(&["produce", "t", "--timeout-ms", "9000"]);
    let said = stderr(&stalled);
    assert!(!stalled.status.success() && said.contains("waiting: the cluster has no controller"), "{said}");
}
