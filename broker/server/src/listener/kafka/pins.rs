//! Segments that a socket may still hold pages of.
//!
//! After `sendfile` the receiver's queue refers to the file's own pages until the receiver has read them, which no count of
//! ours shows: on one machine even acknowledged bytes are still the sender's pages. So a segment that was sent from is not
//! given back for writing over until the client has asked for more on the same connection after everything was sent, and
//! some time has passed; or, when the connection ended, until that time has passed. A client that leaves bytes of a segment
//! deleted meanwhile unread for longer than that may read what the file holds by then: perhaps another topic's batches, whole
//! and with a right checksum, at offsets that it did not ask for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use highwater_log::SegmentPin;
use tokio::time::{Duration, Instant};

/// A segment stays as it is for at least so long after it was sent from.
const QUARANTINE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Pinned {
    pin: SegmentPin,
    sent: Instant,
}

/// The pins of one connection.
#[derive(Debug)]
pub(super) struct Pins {
    held: Vec<Pinned>,
    ended: Arc<EndedPins>,
}

/// The pins of connections that have ended.
#[derive(Debug, Default)]
pub(super) struct EndedPins {
    held: Mutex<VecDeque<Pinned>>,
}

impl Pins {
    /// None yet; what is left at the end goes to `ended`.
    pub(super) fn new(ended: Arc<EndedPins>) -> Pins {
        Pins { held: Vec::new(), ended }
    }

    /// A segment is being sent from.
    pub(super) fn note(&mut self, pin: SegmentPin) {
        let sent = Instant::now();
        match self.held.iter_mut().find(|held| held.pin.is_of_same_segment(&pin)) {
            Some(held) => held.sent = sent,
            None => self.held.push(Pinned { pin, sent }),
        }
    }

    /// Everything was sent, and the client asks for more.
    pub(super) fn asked_for_more(&mut self) {
        if !self.held.is_empty() {
            self.release(Instant::now());
        }
    }

    fn release(&mut self, now: Instant) {
        self.held.retain(|held| held.sent + QUARANTINE > now);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.ended.take_in(std::mem::take(&mut self.held), Instant::now());
    }
}

impl EndedPins {
    fn take_in(&self, pins: Vec<Pinned>, now: Instant) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.extend(pins.into_iter().map(|pinned| Pinned { sent: now, ..pinned }));
        while held.front().is_some_and(|oldest| oldest.sent + QUARANTINE <= now) {
            held.pop_front();
        }
    }

    /// Lets go of what was held long enough.
    pub(super) fn sweep(&self) {
        self.take_in(Vec::new(), Instant::now());
    }
}
