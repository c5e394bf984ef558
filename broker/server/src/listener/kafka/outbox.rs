//! What waits to be sent on a connection, in order: small encoded parts between stored batches.
//!
//! Stored batches go from the page cache to the socket by `sendfile`, a fifth of the work of a copy. The price: until the
//! peer has read them, the socket refers to the file's pages, and if they are written over meanwhile the peer gets the new
//! bytes. So a segment that was sent from stays pinned (see [`super::pins`]). The pages were brought into memory when the
//! read was planned, off the event loop.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use highwater_log::FileSlice;
use rustix::net::{SendAncillaryBuffer, SendFlags};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::pins::Pins;

/// Most parts given to the kernel at once.
const SLICES_MAX: usize = 64;
/// A peer that takes nothing for so long is gone, or never meant to read.
const STALL_MAX: Duration = Duration::from_secs(60);

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Part {
    /// Encoded bytes.
    Bytes(Bytes),
    /// Stored batches.
    File(FileSlice),
}

impl From<Bytes> for Part {
    fn from(bytes: Bytes) -> Part {
        Part::Bytes(bytes)
    }
}

/// Parts to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parts: VecDeque<Part>,
    bytes: usize,
}

impl Part {
    /// Bytes in it.
    pub(super) fn len(&self) -> usize {
        match self {
            Part::Bytes(bytes) => bytes.len(),
            Part::File(slice) => slice.bytes,
        }
    }
}

impl Outbox {
    /// Appends a part.
    pub(super) fn push(&mut self, part: Part) {
        if part.len() > 0 {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Sends everything. Segments that were sent from are noted in `pins`.
    pub(super) async fn send(&mut self, socket: &TcpStream, pins: &mut Pins) -> io::Result<()> {
        while let Some(part) = self.parts.front_mut() {
            let sent = match part {
                Part::File(slice) if slice.descriptor().is_none() => {
                    *part = Part::Bytes(slice.copy()?);
                    continue;
                }
                Part::File(slice) => {
                    pins.note(slice.pin());
                    send_file(slice, socket)
                }
                Part::Bytes(_) => self.send_bytes(socket),
            };
            match sent {
                Ok(sent) => self.advance(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = tokio::time::timeout(STALL_MAX, socket.writable()).await;
                    ready
                        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client reads nothing"))??;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Sends the encoded parts up to the next stored batches, in one call. If batches follow, the kernel is told to wait
    /// for them before it makes a packet.
    fn send_bytes(&self, socket: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        let mut flags = SendFlags::NOSIGNAL;
        for part in &self.parts {
            match part {
                Part::Bytes(bytes) if count < SLICES_MAX => slices[count] = IoSlice::new(bytes),
                Part::Bytes(_) | Part::File(_) => {
                    flags |= SendFlags::MORE;
                    break;
                }
            }
            count += 1;
        }
        let sent = socket.try_io(Interest::WRITABLE, || {
            let none = &mut SendAncillaryBuffer::default();
            Ok(rustix::net::sendmsg(socket, &slices[..count], none, flags)?)
        })?;
        if sent == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(sent) }
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > sent {
                match part {
                    Part::Bytes(bytes) => bytes.advance(sent),
                    Part::File(slice) => {
                        slice.position += sent as u64;
                        slice.bytes -= sent;
                    }
                }
                return;
            }
            sent -= part.len();
            self.parts.pop_front();
        }
    }
}

fn send_file(slice: &FileSlice, socket: &TcpStream) -> io::Result<usize> {
    let Some(file) = slice.descriptor() else { return Err(io::ErrorKind::Unsupported.into()) };
    let mut position = slice.position;
    let sent = socket.try_io(Interest::WRITABLE, || {
        Ok(rustix::fs::sendfile(socket, file, Some(&mut position), slice.bytes)?)
    })?;
    // Pinned bytes are there; if they are not, somebody cut the file behind our back.
    if sent == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(sent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_leave_in_order_however_much_the_kernel_takes() {
        for step in 1..8 {
            let mut outbox = Outbox::default();
            for part in ["ab", "", "cde", "f"] {
                outbox.push(Bytes::from(part).into());
            }
            let mut sent = Vec::new();
            while outbox.len() > 0 {
                let all: Vec<u8> = outbox.parts.iter().flat_map(bytes).copied().collect();
                assert_eq!(all.len(), outbox.len());
                let taken = step.min(all.len());
                sent.extend_from_slice(&all[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(sent, b"abcdef", "{step} at a time");
            assert!(outbox.parts.is_empty());
        }
    }

    fn bytes(part: &Part) -> &[u8] {
        match part {
            Part::Bytes(bytes) => bytes,
            Part::File(_) => unreachable!("no files here"),
        }
    }
}
