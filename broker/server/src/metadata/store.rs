//! The image: applied by Raft, read by everybody.

use std::sync::{Arc, PoisonError, RwLock};

use highwater_core::metadata::{Applied, Entry, Image, Record};
use highwater_raft_store::StateMachine;
use prost::Message;
use tokio::sync::watch;

/// The newest image, for readers.
#[derive(Clone, Debug)]
pub(crate) struct MetadataStore {
    image: Arc<RwLock<Arc<Image>>>,
    applied: watch::Sender<u64>,
}

/// The image as Raft's state machine.
#[derive(Debug)]
pub(crate) struct MetadataMachine {
    image: Image,
    store: MetadataStore,
}

/// What became of an entry, as its proposer hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It was carried out.
    Accepted,
    /// It was decided against another state than the one it met, and changed nothing.
    Stale,
}

impl MetadataStore {
    /// An empty image, and the state machine that fills it.
    pub(crate) fn new() -> (MetadataStore, MetadataMachine) {
        let store = MetadataStore { image: Arc::default(), applied: watch::Sender::new(0) };
        (store.clone(), MetadataMachine { image: Image::default(), store })
    }

    /// The metadata as it is now.
    pub(crate) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says when there is a newer image, by the index that was applied last.
    pub(crate) fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }
}

impl Verdict {
    /// Reads what [`MetadataMachine::apply`] replied.
    pub(crate) fn from_reply(reply: &[u8]) -> Verdict {
        if reply == [1] { Verdict::Accepted } else { Verdict::Stale }
    }
}

/// A committed entry that cannot be carried out means that this program is too old, or that its state is not the
/// cluster's: going on would make two clusters of one.
fn halt(index: u64, problem: &dyn std::fmt::Display) -> ! {
    tracing::error!(index, %problem, "a committed metadata entry cannot be carried out: this broker stops");
    panic!("metadata entry {index} cannot be carried out: {problem}")
}

impl StateMachine for MetadataMachine {
    fn apply(&mut self, index: u64, payload: &[u8]) -> Vec<u8> {
        let entry = Entry::decode(payload).unwrap_or_else(|error| halt(index, &error));
        match self.image.apply_entry(index, &entry) {
            Ok(Applied::Accepted) => vec![1],
            Ok(Applied::Stale { based_on, accepted }) => {
                tracing::warn!(
                    index,
                    based_on,
                    accepted,
                    "an entry was decided against an older state: ignored"
                );
                vec![0]
            }
            Ok(Applied::Before) => vec![0],
            Err(error) => halt(index, &error),
        }
    }

    fn applied_up_to(&mut self, index: u64) {
        let image = Arc::new(self.image.clone());
        *self.store.image.write().unwrap_or_else(PoisonError::into_inner) = image;
        self.store.applied.send_replace(index);
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let image = self.image.clone();
        Box::new(move || {
            let mut bytes = Vec::new();
            // What was applied since changed nothing.
            bytes.extend(image.accepted().to_be_bytes());
            for record in image.to_records() {
                record.encode_length_delimited(&mut bytes).expect("a vector grows as needed");
            }
            bytes
        })
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        let (accepted, mut rest) = snapshot.split_first_chunk::<8>().ok_or("it is too short")?;
        let mut records = Vec::new();
        while !rest.is_empty() {
            records.push(Record::decode_length_delimited(&mut rest).map_err(|error| error.to_string())?);
        }
        let accepted = u64::from_be_bytes(*accepted);
        self.image = Image::from_records(accepted, &records).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn digest(&self) -> u32 {
        let digest = self.image.digest();
        (digest ^ (digest >> 32)) as u32
    }
}
