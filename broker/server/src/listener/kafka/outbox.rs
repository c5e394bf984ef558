//! What waits to be sent on a connection, in order: small encoded parts between slices of stored batches.
//!
//! Stored batches go out as slices of a segment's map, gathered with the parts around them in one call.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::net::TcpStream;

/// Most parts given to the kernel at once.
const SLICES_MAX: usize = 64;
/// A peer that takes nothing for so long is gone, or never meant to read.
const STALL_MAX: Duration = Duration::from_secs(60);

/// Parts to be sent.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    parts: VecDeque<Bytes>,
    bytes: usize,
}

impl Outbox {
    /// Appends a part.
    pub(super) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.bytes += part.len();
            self.parts.push_back(part);
        }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Sends everything.
    pub(super) async fn send(&mut self, socket: &TcpStream) -> io::Result<()> {
        while !self.is_empty() {
            match self.try_send(socket) {
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

    fn try_send(&self, socket: &TcpStream) -> io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let count = self.parts.len().min(SLICES_MAX);
        for (slice, part) in slices.iter_mut().zip(&self.parts) {
            *slice = IoSlice::new(part);
        }
        match socket.try_write_vectored(&slices[..count])? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            sent => Ok(sent),
        }
    }

    fn advance(&mut self, mut sent: usize) {
        self.bytes -= sent;
        while let Some(part) = self.parts.front_mut() {
            if part.len() > sent {
                part.advance(sent);
                return;
            }
            sent -= part.len();
            self.parts.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_leave_in_order_however_much_the_kernel_takes() {
        for step in 1..8 {
            let mut outbox = Outbox::default();
            for part in ["ab", "", "cde", "f"] {
                outbox.push(Bytes::from(part));
            }
            let mut sent = Vec::new();
            while !outbox.is_empty() {
                let all: Vec<u8> = outbox.parts.iter().flatten().copied().collect();
                assert_eq!(all.len(), outbox.len());
                let taken = step.min(all.len());
                sent.extend_from_slice(&all[..taken]);
                outbox.advance(taken);
            }
            assert_eq!(sent, b"abcdef", "{step} at a time");
        }
    }
}
