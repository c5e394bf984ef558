//! Questions and orders to the cluster, with little patience: whoever calls tries again.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use highwater_client::{
    Admin, AdminError, BrokerState, Client, ClientConfig, ClusterStatus, TopicDescription,
};
use tokio::sync::Mutex;

use super::network::{SLOTS, address};

/// The topic that everything goes to.
pub(super) const TOPIC: &str = "soak";
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Where clients find brokers: on any of the hosts.
pub(super) fn bootstrap() -> Vec<String> {
    (0..SLOTS).map(|slot| format!("{}:9094", address(slot))).collect()
}

/// Asks the cluster.
#[derive(Debug)]
pub(super) struct Caller {
    client: Mutex<Option<Client>>,
}

impl Caller {
    pub(super) fn new() -> Caller {
        Caller { client: Mutex::new(None) }
    }

    async fn admin(&self) -> Result<Admin> {
        let mut client = self.client.lock().await;
        if client.is_none() {
            let config = ClientConfig {
                client_id: "soak-nemesis".to_owned(),
                connect_timeout: Duration::from_secs(1),
                request_timeout: ANSWER_MAX,
                ..ClientConfig::new(bootstrap())
            };
            *client = Some(Client::connect(config).await?);
        }
        Ok(client.as_ref().context("just made")?.admin())
    }

    /// One call, answered in time or failed.
    pub(super) async fn call<T, F>(&self, what: &str, call: impl FnOnce(Admin) -> F) -> Result<T>
    where
        F: Future<Output = Result<T, AdminError>>,
    {
        let admin = self.admin().await?;
        match tokio::time::timeout(ANSWER_MAX * 2, call(admin)).await {
            Ok(answer) => answer.with_context(|| what.to_owned()),
            Err(_) => bail!("{what}: no answer in {:?}", ANSWER_MAX * 2),
        }
    }

    /// Who is there.
    pub(super) async fn status(&self) -> Result<ClusterStatus> {
        self.call("cluster status", |admin| async move { admin.cluster_status().await }).await
    }

    /// The topic with its partitions.
    pub(super) async fn topic(&self) -> Result<TopicDescription> {
        self.call("topic describe", |admin| async move { admin.describe_topic(TOPIC).await }).await
    }

    /// What a cluster of exactly these brokers still lacks; `None` if nothing.
    pub(super) async fn lack(&self, ids: &[i32]) -> Option<String> {
        let status = match self.status().await {
            Ok(status) => status,
            Err(error) => return Some(format!("{error:#}")),
        };
        if status.controller.is_none() {
            return Some("no controller".to_owned());
        }
        for id in ids {
            match status.brokers.iter().find(|broker| broker.id.0 == *id) {
                None => return Some(format!("broker {id} is not known")),
                Some(broker) if broker.state != BrokerState::Active => {
                    return Some(format!("broker {id} is {:?}", broker.state));
                }
                Some(_) => {}
            }
        }
        if status.leaderless + status.under_replicated > 0 {
            return Some(format!(
                "{} partitions without leader, {} under-replicated",
                status.leaderless, status.under_replicated
            ));
        }
        None
    }
}
