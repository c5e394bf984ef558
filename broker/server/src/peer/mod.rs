//! Brokers among themselves: one port, a handshake that says who meets whom, then control calls or a replication stream.
//!
//! Control calls are small, answered in any order, each under a deadline; Raft's words have a connection of their own, so
//! that a snapshot doesn't hold up a heartbeat. A name is resolved anew for every dial. The handshake refuses another
//! cluster, another protocol, and a broker other than the one that was meant. There is no encryption or authentication
//! yet: the port must be reachable by brokers only.
//!
//! ```text
//! on connecting:  "HWPR", u16 protocol, then one frame: hello as JSON; the other side answers with one frame: welcome as JSON
//! frame:          u32 length, then so many bytes
//! control:        a frame is u64 correlation, u8 kind, body; the answer u64 correlation, u8 status, body
//! replication:    see replication::message; an empty frame means "still here"
//! ```

mod calls;
mod frames;
mod hello;
mod serve;

pub(crate) use calls::{CallError, Peers, call_once};
pub(crate) use frames::{FrameError, FrameReader, write_parts};
pub(crate) use hello::{DialError, Hello, Identity, Purpose, dial};
pub(crate) use serve::{PeerService, serve};

/// What a control call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Raft's own words.
    Raft,
    /// A request to the controller, as JSON.
    Control,
}

impl Kind {
    fn from_wire(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Raft),
            2 => Some(Kind::Control),
            _ => None,
        }
    }

    fn to_wire(self) -> u8 {
        match self {
            Kind::Raft => 1,
            Kind::Control => 2,
        }
    }
}

#[cfg(test)]
mod tests;
