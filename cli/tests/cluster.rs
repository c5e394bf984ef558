//! `dev --brokers`: real processes, one of them killed.

mod support;

use std::path::Path;

use support::{DevCluster, run, signal, stderr, wait_until_gone};

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
