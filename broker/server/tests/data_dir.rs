//! Data directories that a broker must not use: it says why by name, and leaves every byte as it was.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_client::{Client, ClientConfig, NewTopic, ProducerConfig, Record};
use highwater_log::LogDirError;
use highwater_log::meta::{FORMAT_VERSION, META_FILE, Meta};
use highwater_server::{Broker, BrokerConfig, OpenError, StartError};

/// Every file below a directory with its bytes.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                files.insert(path.clone(), Vec::new());
                open.push(path);
            } else {
                files.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
    }
    files
}

async fn write_a_record(broker: &Broker) {
    let client = Client::connect(ClientConfig::new([broker.grpc_addr().to_string()])).await.unwrap();
    client.admin().create_topic(NewTopic::new("events")).await.unwrap();
    let producer = client.producer(ProducerConfig::default()).await.unwrap();
    producer.send(Record::new("events").value("kept")).await.unwrap().await.unwrap();
}

/// Why the directory was refused.
async fn refusal(directory: &Path) -> Arc<LogDirError> {
    match Broker::start(BrokerConfig::ephemeral(directory)).await {
        Err(StartError::Data(OpenError::Directory(error))) => error,
        Err(other) => panic!("refused for another reason: {other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_of_another_format_version_is_refused_by_name_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    write_a_record(&broker).await;
    broker.stop().await.unwrap();
    let path = directory.path().join(META_FILE);
    let mut meta = Meta::decode(&fs::read_to_string(&path).unwrap()).unwrap();
    meta.format_version = FORMAT_VERSION + 1;
    fs::write(&path, meta.encode()).unwrap();
    let before = contents(directory.path());

    let error = refusal(directory.path()).await;
    let LogDirError::FormatVersion { found, supported, .. } = &*error else { panic!("{error}") };
    assert_eq!((*found, *supported), (FORMAT_VERSION + 1, FORMAT_VERSION));
    assert_eq!(contents(directory.path()), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_that_a_running_broker_has_is_refused_by_name_and_left_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    write_a_record(&broker).await;
    let data = |files: BTreeMap<PathBuf, Vec<u8>>| -> BTreeMap<PathBuf, Vec<u8>> {
        // The running broker may write a checkpoint meanwhile; what it was given is in these.
        let kept = |path: &Path| {
            path.extension().is_some_and(|e| e == "log") || path.parent() == Some(directory.path())
        };
        files.into_iter().filter(|(path, _)| kept(path)).collect()
    };
    let before = data(contents(directory.path()));

    let error = refusal(directory.path()).await;
    let LogDirError::InUse { holder, .. } = &*error else { panic!("{error}") };
    assert!(holder.contains(&format!("process {}", std::process::id())), "{holder}");
    assert_eq!(data(contents(directory.path())), before);
    broker.stop().await.unwrap();
}
