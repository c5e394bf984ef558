//! A disk that is really full: a clear error that says to retry, nothing lost, and service again once there is space.
#![expect(clippy::unwrap_used, reason = "a test")]
#![expect(clippy::disallowed_methods, reason = "fills a real file system")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use highwater_client::{Client, ClientConfig, ConsumerConfig, NewTopic, Position, ProducerConfig, Record};
use highwater_tests::BrokerProcess;

/// A small file system of its own; unmounted when dropped.
struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    fn mount(path: &Path) -> Option<SmallDisk> {
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| SmallDisk { path: path.to_owned() })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_clearly_loses_nothing_and_serves_again_when_there_is_space() {
    let directory = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(directory.path()) else {
        eprintln!("!!! SKIPPED: full disk (this user may not mount a tmpfs)");
        return;
    };
    let ballast = disk.path.join("ballast");
    std::fs::write(&ballast, vec![1; 12 << 20]).unwrap();
    let broker = BrokerProcess::start(&disk.path.join("data"), &[]).unwrap();
    let client = Client::connect(ClientConfig::new([broker.grpc.clone()])).await.unwrap();
    client.admin().create_topic(NewTopic::new("log").config("segment.bytes", "4194304")).await.unwrap();
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(5), ..ProducerConfig::default() };
    let producer = client.producer(config.clone()).await.unwrap();

    let payload = vec![b'x'; 32 << 10];
    let mut acked = Vec::new();
    let refused = loop {
        let delivery = producer.send(Record::new("log").value(&payload)).await.unwrap();
        match delivery.await {
            Ok(metadata) => acked.push(metadata.offset.unwrap().0),
            Err(error) => break error,
        }
        assert!(acked.len() < 2_000, "a disk of 48 MiB took 64 MB");
    };
    assert!(refused.is_retriable(), "a full disk must be worth a retry: {refused}");
    assert!(acked.len() > 100, "only {} records fitted: {refused}", acked.len());
    drop(producer);

    // Reads go on while the disk is full. What was refused may be there nonetheless, last, if the answer came too late.
    let mut stored = read(&client, acked.len()).await;
    let unacknowledged = stored.split_off(acked.len());
    assert_eq!(stored, acked);
    assert!(unacknowledged.len() <= 1, "one record was refused, and {unacknowledged:?} are there");

    std::fs::remove_file(&ballast).unwrap();
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(20), ..config };
    let producer = client.producer(config).await.unwrap();
    for _ in 0..50 {
        let delivery = producer.send(Record::new("log").value(&payload)).await.unwrap();
        acked.push(delivery.await.expect("service returns when space does").offset.unwrap().0);
    }
    let stored = read(&client, acked.len()).await;
    assert!(acked.iter().all(|offset| stored.contains(offset)), "an acknowledged record is gone");
    assert!(broker.stop().unwrap().success());
}

async fn read(client: &Client, at_least: usize) -> Vec<i64> {
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("log", Position::Beginning).await.unwrap();
    let mut offsets = Vec::new();
    while offsets.len() < at_least {
        let records = consumer.poll(Duration::from_secs(10)).await.unwrap();
        assert!(!records.is_empty(), "{} of {at_least} records came", offsets.len());
        offsets.extend(records.iter().map(|record| record.unwrap().offset.0));
    }
    offsets
}
