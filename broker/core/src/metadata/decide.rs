//! Any command, decided against an image: the records that carry it out, and the answer. Nothing changes by deciding.
//!
//! The controller decides a batch of commands, each against what the ones before it would make ([`Batch`]), and proposes
//! the records of all as one entry.

use std::collections::{BTreeMap, BTreeSet};

use highwater_proto::{BrokerId, TopicId};

use super::apply::ApplyError;
use super::command::{Command, Mode, Outcome, TopicRef};
use super::image::Image;
use super::record::{Entry, Record};
use super::refusal::{MetadataError, Refusal};
use super::{cluster, drain, election, fencing, isr, reassign, registration, topics};

/// What decisions depend on besides the image.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The configuration's defaults for topic settings.
    pub broker_defaults: &'a BTreeMap<String, String>,
    /// Partitions of a topic that doesn't say.
    pub default_partitions: i32,
    /// Replicas of a topic that doesn't say; -1 is three, or as many as there are live brokers.
    pub default_replication_factor: i32,
    /// The time, in milliseconds since the Unix epoch.
    pub now_ms: i64,
    /// 16 random bytes for a topic that may be created; fresh ones for each decision.
    pub fresh_id: TopicId,
    /// The brokers whose sessions are alive: whoever registers under such an id is an impostor.
    pub alive: &'a BTreeSet<BrokerId>,
}

/// Decides a command.
///
/// # Errors
/// [`Refusal`], and nothing changes.
pub fn decide(
    image: &Image,
    context: Context<'_>,
    command: &Command,
) -> Result<(Vec<Record>, Outcome), Refusal> {
    let done = |records: Vec<Record>| (records, Outcome::Done);
    Ok(match command {
        Command::FormCluster { id, name, brokers } => done(vec![cluster::form(image, *id, name, brokers)?]),
        Command::TakeBrokerId => {
            let (record, broker) = cluster::take_broker_id(image)?;
            (vec![record], Outcome::BrokerIdTaken { broker })
        }
        Command::RaiseMetadataVersion { version } => {
            done(cluster::raise_version(image, *version)?.into_iter().collect())
        }
        Command::RegisterBroker { registration } => registration::register(image, context, registration)?,
        Command::Unfence { broker, epoch, applied } => {
            done(fencing::unfence(image, *broker, *epoch, *applied)?)
        }
        Command::Fence { broker, epoch } => done(fencing::fence(image, *broker, *epoch)?),
        Command::ControlledShutdown { broker, epoch } => fencing::stop(image, *broker, *epoch)?,
        Command::AlterPartition { broker, epoch, changes } => {
            isr::alter_partitions(image, *broker, *epoch, changes)?
        }
        Command::ReportUnclean { broker, epoch, partitions } => {
            done(fencing::report_unclean(image, *broker, *epoch, partitions)?)
        }
        Command::ElectLeaders { kind, partitions } => election::elect(image, *kind, partitions.as_deref()),
        Command::Reassign { partitions } => reassign::reassign(image, partitions),
        Command::Drain { broker } => drain::drain(image, *broker)?,
        Command::CancelDrain { broker } => done(drain::cancel(image, *broker)?),
        Command::RemoveBroker { broker } => done(vec![drain::remove(image, *broker)?]),
        topics => decide_topics(image, context, topics)?,
    })
}

fn decide_topics(
    image: &Image,
    context: Context<'_>,
    command: &Command,
) -> Result<(Vec<Record>, Outcome), MetadataError> {
    let kept = |mode: &Mode, records: Vec<Record>| match mode {
        Mode::Apply => records,
        Mode::ValidateOnly => Vec::new(),
    };
    Ok(match command {
        Command::CreateTopic { topic, mode } => {
            let (record, topic) = topics::create_topic(image, context, topic)?;
            (kept(mode, vec![record]), Outcome::TopicCreated { topic })
        }
        Command::DeleteTopic { topic } => {
            let topic = match topic {
                TopicRef::Name(name) => topics::existing(image, name)?,
                TopicRef::Id(id) => image.topic(*id).ok_or(MetadataError::NoSuchTopicId { id: *id })?,
            };
            let outcome = Outcome::TopicDeleted { id: topic.id, name: topic.name.clone() };
            (vec![topics::delete_topic(image, &topic.name)?], outcome)
        }
        Command::AddPartitions { topic, total, assignments, mode } => {
            let record = topics::add_partitions(image, topic, *total, assignments)?;
            (kept(mode, vec![record]), Outcome::Done)
        }
        Command::AlterConfigs { topic, edits, mode } => {
            (kept(mode, topics::alter_configs(image, context, topic, edits)?), Outcome::Done)
        }
        Command::ReplaceConfigs { topic, configs, mode } => {
            (kept(mode, topics::replace_configs(image, context, topic, configs)?), Outcome::Done)
        }
        Command::TakeProducerIds => {
            let (record, ids) = topics::take_producer_ids(image);
            (vec![record], Outcome::ProducerIds { ids })
        }
        other => unreachable!("{other:?} is no command about topics"),
    })
}

/// Commands decided one after the other, to be proposed as one entry.
#[derive(Clone, Debug)]
pub struct Batch {
    image: Image,
    records: Vec<Record>,
}

impl Batch {
    /// Nothing decided yet, against this applied image.
    #[must_use]
    pub fn new(image: &Image) -> Batch {
        Batch { image: image.clone(), records: Vec::new() }
    }

    /// The image with everything that was decided.
    #[must_use]
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Decides one command more. What it is answered counts only once the entry was accepted.
    ///
    /// # Errors
    /// [`Refusal`]; the batch is as it was then.
    pub fn decide(&mut self, context: Context<'_>, command: &Command) -> Result<Outcome, Refusal> {
        let (records, outcome) = decide(&self.image, context, command)?;
        for record in &records {
            let applied: Result<(), ApplyError> = self.image.anticipate(record);
            applied.expect("a decided record applies");
        }
        self.records.extend(records);
        Ok(outcome)
    }

    /// Whether nothing is to be proposed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The entry to propose.
    #[must_use]
    pub fn into_entry(self) -> Entry {
        let version = self.image.metadata_version();
        Entry { version, based_on: self.image.accepted(), records: self.records }
    }
}
