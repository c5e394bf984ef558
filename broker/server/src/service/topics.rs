//! Topics: created, deleted, widened, described, their settings changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::{
    Command, ConfigEdit, Image, MetadataError, Mode, NewTopic, Outcome, Refusal, Topic, TopicRef,
};
use highwater_core::settings::TopicSettings;
use highwater_proto::{BrokerId, LeaderEpoch, Offset, TopicId, TopicPartition};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;

use super::Services;
use crate::controller::SubmitError;

/// A change has this long to be decided.
const CHANGE_WAIT: Duration = Duration::from_secs(15);

/// Why a change to a topic did not happen.
#[derive(Debug, Error)]
pub enum TopicFailure {
    /// Refused, or not kept.
    #[error(transparent)]
    Change(#[from] SubmitError),
}

/// A topic as this broker sees it.
#[derive(Clone, Debug)]
pub struct TopicDetails {
    /// Name, id, settings.
    pub topic: Topic,
    /// By number.
    pub partitions: Vec<PartitionDetails>,
}

/// A partition as its leader sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionDetails {
    /// Which one.
    pub id: TopicPartition,
    /// The leader's epoch.
    pub epoch: LeaderEpoch,
    /// The first offset that is still there.
    pub log_start: Offset,
    /// The first offset that readers must not see.
    pub high_watermark: Offset,
    /// The next offset to be written.
    pub log_end: Offset,
    /// Up to where the log is flushed.
    pub flushed_end: Offset,
    /// Bytes of record data.
    pub size_bytes: u64,
    /// Why it cannot be served, if it can't.
    pub offline_reason: Option<String>,
    /// The other replicas, on the leader.
    pub followers: Vec<FollowerDetails>,
}

/// A follower as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerDetails {
    /// Which broker.
    pub id: BrokerId,
    /// Where its log ends and up to where it is flushed, if it has reported to this leader.
    pub ends: Option<(Offset, Offset)>,
}

impl Services {
    /// The metadata as it is now.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// Says when there is newer metadata, by the index in the metadata log that was applied last. [`Services::image`] is at
    /// least as new as what the receiver shows, so whoever looks again at each change misses no state that lasts.
    #[must_use]
    pub fn metadata_applied(&self) -> watch::Receiver<u64> {
        self.metadata.applied()
    }

    /// What tells this cluster from every other one; until one is formed, the name that it will have.
    #[must_use]
    pub fn cluster_id(&self) -> String {
        self.image().cluster().map_or_else(|| self.config.cluster_name.clone(), |known| known.id.to_string())
    }

    /// A topic's settings over the broker's defaults.
    pub(crate) fn settings_of(&self, topic: &Topic) -> Arc<TopicSettings> {
        let settings = TopicSettings::resolve(&topic.configs, &self.config.topic_defaults);
        Arc::new(settings.unwrap_or_else(|error| {
            // Settings were checked when they were set; a newer version's may reach an older one after a downgrade.
            tracing::error!(topic = topic.name, %error, "a stored setting is not legal here; the defaults are used");
            TopicSettings::defaults()
        }))
    }

    /// Creates a topic; -1 stands for the broker's default. Returns it as it is, or would be.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub fn create_topic(
        self: &Arc<Services>,
        name: String,
        partitions: i32,
        replication_factor: i32,
        configs: BTreeMap<String, String>,
        mode: Mode,
    ) -> impl Future<Output = Result<Topic, TopicFailure>> {
        let assignments = Vec::new();
        self.create_topic_as(NewTopic { name, partitions, replication_factor, configs, assignments }, mode)
    }

    /// The same with everything that can be said of a new topic.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn create_topic_as(
        self: &Arc<Services>,
        topic: NewTopic,
        mode: Mode,
    ) -> Result<Topic, TopicFailure> {
        match self.change(Command::CreateTopic { topic, mode }).await? {
            Outcome::TopicCreated { topic } => {
                let (id, partitions) = (topic.id, topic.partition_count());
                tracing::info!(topic = topic.name, %id, partitions, ?mode, "created topic");
                Ok(topic)
            }
            other => unreachable!("creating a topic is answered by one, not by {other:?}"),
        }
    }

    /// Deletes a topic. Its records go in the background.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn delete_topic(self: &Arc<Services>, name: String) -> Result<(), TopicFailure> {
        let topic = self.metadata.image().topic_named(&name).cloned();
        self.change(Command::DeleteTopic { topic: TopicRef::Name(name) }).await?;
        self.remove_logs(topic).await;
        Ok(())
    }

    /// Deletes the topic with this id. Its records go in the background.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn delete_topic_with_id(self: &Arc<Services>, id: TopicId) -> Result<(), TopicFailure> {
        let topic = self.metadata.image().topic(id).cloned();
        self.change(Command::DeleteTopic { topic: TopicRef::Id(id) }).await?;
        self.remove_logs(topic).await;
        Ok(())
    }

    async fn remove_logs(self: &Arc<Services>, topic: Option<Topic>) {
        if let Some(topic) = topic {
            tracing::info!(topic = topic.name, id = %topic.id, "deleted topic");
            let services = Arc::clone(self);
            let work = move || services.partitions.remove(topic.partition_ids());
            tokio::task::spawn_blocking(work).await.expect("removing partitions does not panic");
        }
    }

    /// Raises a topic's number of partitions to `total`.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub fn add_partitions(
        self: &Arc<Services>,
        name: String,
        total: i32,
        mode: Mode,
    ) -> impl Future<Output = Result<(), TopicFailure>> {
        self.add_partitions_as(name, total, Vec::new(), mode)
    }

    /// The same, with who shall hold each new partition; without any the controller chooses.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn add_partitions_as(
        self: &Arc<Services>,
        name: String,
        total: i32,
        assignments: Vec<Vec<BrokerId>>,
        mode: Mode,
    ) -> Result<(), TopicFailure> {
        self.change(Command::AddPartitions { topic: name, total, assignments, mode }).await.map(drop)
    }

    /// Edits settings of a topic.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn alter_configs(
        self: &Arc<Services>,
        name: String,
        edits: BTreeMap<String, ConfigEdit>,
        mode: Mode,
    ) -> Result<(), TopicFailure> {
        let altered = name.clone();
        self.change(Command::AlterConfigs { topic: name, edits, mode }).await?;
        self.pass_settings_on(&altered);
        Ok(())
    }

    /// Gives a topic exactly these settings; all others go back to their defaults.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn replace_configs(
        self: &Arc<Services>,
        name: String,
        configs: BTreeMap<String, String>,
        mode: Mode,
    ) -> Result<(), TopicFailure> {
        let altered = name.clone();
        self.change(Command::ReplaceConfigs { topic: name, configs, mode }).await?;
        self.pass_settings_on(&altered);
        Ok(())
    }

    fn pass_settings_on(&self, name: &str) {
        if let Some(topic) = self.metadata.image().topic_named(name) {
            let settings = self.settings_of(topic);
            self.partitions.update_settings(topic.partition_ids(), &settings);
        }
    }

    /// The topic, created with the broker's defaults if it is missing and the broker may.
    ///
    /// # Errors
    /// [`TopicFailure`].
    pub async fn topic_or_create(self: &Arc<Services>, name: &str) -> Result<Topic, TopicFailure> {
        if let Some(topic) = self.metadata.image().topic_named(name) {
            return Ok(topic.clone());
        }
        if !self.config.topic_auto_create {
            let name = name.escape_default().to_string();
            return Err(refused(MetadataError::NoSuchTopic { name }));
        }
        match self.create_topic(name.to_owned(), -1, -1, BTreeMap::new(), Mode::Apply).await {
            // Somebody else was faster.
            Err(TopicFailure::Change(SubmitError::Refused(Refusal::Topic(MetadataError::Exists {
                ..
            })))) => {}
            other => return other,
        }
        let image = self.metadata.image();
        let topic = image.topic_named(name).cloned();
        topic.ok_or_else(|| refused(MetadataError::NoSuchTopic { name: name.to_owned() }))
    }

    pub(crate) async fn change(self: &Arc<Services>, command: Command) -> Result<Outcome, TopicFailure> {
        Ok(self.control.submit(command, CHANGE_WAIT).await?)
    }
}

fn refused(error: MetadataError) -> TopicFailure {
    SubmitError::Refused(Refusal::Topic(error)).into()
}
