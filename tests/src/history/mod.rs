//! The history of a run: what clients asked and were told, and what was done to the cluster, as JSON lines.
//!
//! A [`Recorder`] is shared by many tasks and streams; [`History`] reads a recorded file back, one operation at a time.
//! Nothing here judges: that is the checker's part.
//!
//! Invariant: every operation that was begun has exactly one line, at the latest when the recorder is finished.

mod op;
mod outcome;
mod reader;
mod recorder;
mod stall;
mod value;

pub use op::{
    BadRead, End, Header, Key, Kind, Limits, ListSpec, Op, Phase, PollMode, Read, SCHEMA_VERSION, Topic,
};
pub use outcome::{Attempts, Fault, Outcome, outcome_of};
pub use reader::{History, HistoryError};
pub use recorder::{Call, Minority, Recorder};
pub(crate) use stall::Stall;
pub use value::{Origin, VALUE_BYTES_MIN, Value, ValueError};
