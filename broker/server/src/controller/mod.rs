//! The controller and its brokers.
//!
//! On the node that leads Raft, one loop decides everything ([`decisions`]): it takes what was asked, decides each request
//! against the image that the ones before it would make, proposes all of it as one entry and answers when that is applied.
//! Heartbeats are heard there, and in no log; whoever is not heard is fenced. On every broker, [`Control`] finds that node
//! and asks it, [`life`] registers the broker and keeps its lease, [`duties`] gives partitions their parts as the image
//! says, and [`in_sync`] asks for changes of in-sync replicas on behalf of its leaders.
//!
//! Before any of that, the others are asked what they remember of this broker ([`recall`], [`doorway`]): one that has
//! forgotten what it confirmed must not vote again.
//!
//! Every decision is a commit of Raft (M-63), and every request of a broker names its life (M-61).

mod balance;
mod control;
mod decisions;
mod doorway;
pub(crate) mod duties;
pub(crate) mod in_sync;
pub(crate) mod joining;
pub(crate) mod life;
mod recall;
mod request;
mod service;
mod small_file;
mod transport;

pub(crate) use control::Control;
pub use control::SubmitError;
pub(crate) use decisions::{Decider, Timing};
pub use doorway::DoorError;
pub(crate) use doorway::{Admission, Doorway, forget_late, may_start};
pub use joining::JoinError;
pub use life::LifeFailure;
pub(crate) use recall::Own;
pub use recall::{Forgotten, RecallError};
pub(crate) use request::{Answer, Members, Request};
pub(crate) use service::{BrokerService, probe_when_leading};
pub(crate) use transport::PeerTransport;
