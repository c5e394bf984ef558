//! The metadata as the broker uses it: an image to read, and changes that are on disk before they are applied.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use highwater_core::metadata::{ApplyError, Image, METADATA_VERSION, Record, Refusal, change};
use highwater_env::Disk;
use highwater_proto::BrokerId;
use prost::Message;
use thiserror::Error;

use super::journal::{Entry, Journal, JournalError};

/// The image and its journal.
#[derive(Debug)]
pub struct MetadataStore {
    image: RwLock<Arc<Image>>,
    journal: Arc<Mutex<Journal>>,
}

/// Why the metadata was not changed.
#[derive(Debug, Error)]
pub enum ChangeError {
    /// The change is not legal.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be kept.
    #[error("the metadata could not be written: {0}")]
    Storage(#[from] JournalError),
    /// A record contradicts what is there.
    #[error(transparent)]
    Contradiction(#[from] ApplyError),
    /// A record on disk that cannot be decoded although its checksum is right.
    #[error("metadata record {index} cannot be decoded: {error}")]
    Undecodable {
        /// Its place in the log.
        index: u64,
        /// What the decoder says.
        error: prost::DecodeError,
    },
}

impl MetadataStore {
    /// Reads the metadata kept in `directory`; blocks on the disk.
    ///
    /// # Errors
    /// Anything but [`ChangeError::Refused`].
    pub fn open(disk: &Arc<dyn Disk>, directory: &Path) -> Result<MetadataStore, ChangeError> {
        let (journal, recovered) = Journal::open(disk, directory)?;
        if recovered.torn_bytes > 0 {
            tracing::warn!(bytes = recovered.torn_bytes, "cut a torn record off the metadata journal");
        }
        let mut image = Image::default();
        if let Some((applied, bodies)) = recovered.snapshot {
            let records: Result<Vec<Record>, ChangeError> =
                bodies.iter().map(|body| decode(applied, body)).collect();
            image = Image::from_records(applied, &records?)?;
        }
        for entry in &recovered.entries {
            image.apply(entry.index, &decode(entry.index, &entry.body)?)?;
        }
        Ok(MetadataStore { image: RwLock::new(Arc::new(image)), journal: Arc::new(Mutex::new(journal)) })
    }

    /// Registers the broker whose metadata this is, which stands alone and is always there: a topic's replicas are
    /// registered brokers.
    ///
    /// # Errors
    /// Anything but [`ChangeError::Refused`].
    pub fn register_alone(&self, broker: BrokerId) -> Result<(), ChangeError> {
        self.change(|image| {
            let registered = change::BrokerRegistered {
                broker_id: broker.0,
                epoch: image.next_broker_epoch().0,
                served_epoch: Some(image.next_broker_epoch().0),
                incarnation: vec![0; 16],
                version: METADATA_VERSION,
                ..change::BrokerRegistered::default()
            };
            let record = change::Change::BrokerRegistered(registered).into();
            Ok((if image.broker(broker).is_some() { Vec::new() } else { vec![record] }, ()))
        })
    }

    /// The metadata as it is now.
    #[must_use]
    pub fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Decides a change against the newest image, keeps its records, applies them, and returns what `decide` returned
    /// beside them. Blocks on an fsync: call it from a blocking thread.
    ///
    /// # Errors
    /// [`ChangeError`]; nothing changed then.
    pub fn change<T>(
        &self,
        decide: impl FnOnce(&Image) -> Result<(Vec<Record>, T), Refusal>,
    ) -> Result<T, ChangeError> {
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut image = Image::clone(&self.image());
        let (records, outcome) = decide(&image)?;
        let mut entries = Vec::with_capacity(records.len());
        for record in &records {
            let index = image.applied() + 1;
            image.apply(index, record)?;
            entries.push(Entry { index, body: record.encode_to_vec() });
        }
        if entries.is_empty() {
            return Ok(outcome);
        }
        journal.append(&entries)?;
        let image = Arc::new(image);
        *self.image.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&image);
        if journal.wants_folding() {
            let records: Vec<Vec<u8>> = image.to_records().iter().map(Record::encode_to_vec).collect();
            if let Err(error) = journal.fold(image.applied(), &records) {
                // The change itself is safe; folding is tried again after the next one.
                tracing::warn!(%error, "could not fold the metadata journal");
            }
        }
        Ok(outcome)
    }
}

fn decode(index: u64, body: &[u8]) -> Result<Record, ChangeError> {
    Record::decode(body).map_err(|error| ChangeError::Undecodable { index, error })
}
