//! Cuts a connection's bytes into frames: a length of 4 bytes, big-endian, and so many bytes.
//!
//! A length is judged before anything is allocated for it, and large frames wait for a share of the listener's memory.
//! A frame's bytes are received once, into a buffer that the next frame reuses when nobody holds a slice of it any more.

use std::io;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Duration, Instant};

/// Bytes of a frame's length.
const LENGTH_BYTES: usize = 4;
/// What a connection reads at once before it has shown that it sends more.
const READ_BYTES_MIN: usize = 4 << 10;
/// What it reads at once at most, unless a frame is known to be larger.
const READ_BYTES_MAX: usize = 1 << 20;
/// Frames up to this size need no share of the listener's memory: a connection always has room for one.
const SMALL_FRAME_BYTES: usize = 16 << 10;
/// A frame that was begun must be whole after this, and a second for each [`FRAME_BYTES_PER_S`] bytes.
const FRAME_TIME: Duration = Duration::from_secs(30);
const FRAME_BYTES_PER_S: usize = 1 << 20;
/// The unit in which memory is shared out, in bytes.
const MEMORY_UNIT_BYTES: usize = 1 << 10;

/// The memory that large frames of all connections share.
#[derive(Clone, Debug)]
pub(super) struct FrameMemory {
    units: Arc<Semaphore>,
    total: u32,
}

impl FrameMemory {
    /// Room for `bytes` altogether.
    pub(super) fn new(bytes: usize) -> FrameMemory {
        let total = u32::try_from(bytes / MEMORY_UNIT_BYTES).unwrap_or(u32::MAX).max(1);
        FrameMemory { units: Arc::new(Semaphore::new(total as usize)), total }
    }

    async fn reserve(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = u32::try_from(bytes.div_ceil(MEMORY_UNIT_BYTES)).unwrap_or(u32::MAX).min(self.total);
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        permit.expect("the semaphore is never closed")
    }
}

/// A whole frame, without its length, and its share of the memory.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<OwnedSemaphorePermit>,
}

/// Why no further frame comes.
#[derive(Debug, Error)]
pub(super) enum FrameError {
    /// The peer closed between two frames.
    #[error("closed by the client")]
    Closed,
    /// The peer closed within one.
    #[error("closed by the client in the middle of a frame")]
    Truncated,
    /// The length is not one.
    #[error("a frame of {announced} bytes was announced; from 1 to {limit} are taken")]
    Length {
        /// As announced.
        announced: i32,
        /// The most that is taken, in bytes.
        limit: usize,
    },
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct FrameReader {
    buffer: BytesMut,
    limit: usize,
    /// How much to read at once: as much as the last frames were large.
    usual: usize,
    memory: FrameMemory,
    reserved: Option<OwnedSemaphorePermit>,
    /// When the frame under way began.
    began: Option<Instant>,
}

impl FrameReader {
    /// Takes frames of up to `limit` bytes.
    pub(super) fn new(limit: usize, memory: FrameMemory) -> FrameReader {
        FrameReader {
            buffer: BytesMut::new(),
            limit,
            usual: READ_BYTES_MIN,
            memory,
            reserved: None,
            began: None,
        }
    }

    /// Whether part of a frame is here.
    pub(super) fn is_midway(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// When the frame under way must be whole, if there is one. A peer that sends slower than that is cut off, since it
    /// may hold memory that others wait for.
    pub(super) fn unfinished_at(&self) -> Option<Instant> {
        let size = self.announced().ok().flatten().unwrap_or(0);
        let time = FRAME_TIME + Duration::from_secs((size / FRAME_BYTES_PER_S) as u64);
        self.began.map(|began| began + time)
    }

    /// Gives the frame under way its time again.
    pub(super) fn begin_anew(&mut self) {
        self.began = self.began.map(|_| Instant::now());
    }

    /// Whether memory is held although nothing is under way.
    pub(super) fn holds_a_buffer(&self) -> bool {
        self.buffer.capacity() > 0
    }

    /// Gives the buffer back while nothing comes, so that an idle connection costs little.
    pub(super) fn shrink(&mut self) {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
            self.usual = READ_BYTES_MIN;
        }
    }

    /// The next frame. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self, socket: &TcpStream) -> Result<Frame, FrameError> {
        loop {
            if let Some(frame) = self.cut()? {
                return Ok(frame);
            }
            self.make_room().await;
            match socket.try_read_buf(&mut self.buffer) {
                Ok(0) if self.buffer.is_empty() => return Err(FrameError::Closed),
                Ok(0) => return Err(FrameError::Truncated),
                Ok(_) => drop(self.began.get_or_insert_with(Instant::now)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.readable().await?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes a whole frame out of what was received, if there is one.
    pub(super) fn cut(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < LENGTH_BYTES + size {
            return Ok(None);
        }
        self.buffer.advance(LENGTH_BYTES);
        let bytes = self.buffer.split_to(size).freeze();
        self.began = self.is_midway().then(Instant::now);
        self.usual = (LENGTH_BYTES + size).clamp(READ_BYTES_MIN, READ_BYTES_MAX);
        Ok(Some(Frame { bytes, memory: self.reserved.take() }))
    }

    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        let announced = i32::from_be_bytes(*length);
        match usize::try_from(announced) {
            Ok(size) if size > 0 && size <= self.limit => Ok(Some(size)),
            _ => Err(FrameError::Length { announced, limit: self.limit }),
        }
    }

    /// Room for the rest of the frame under way, once its length is known and was found legal, or for another one.
    async fn make_room(&mut self) {
        let wanted = match self.announced() {
            Ok(Some(size)) => {
                if size > SMALL_FRAME_BYTES && self.reserved.is_none() {
                    self.reserved = Some(self.memory.reserve(size).await);
                }
                // No more ahead than has come, or a client could have memory by announcing and never sending.
                (LENGTH_BYTES + size - self.buffer.len()).min(self.buffer.len().max(READ_BYTES_MAX))
            }
            _ => self.usual,
        };
        if self.buffer.capacity() - self.buffer.len() < wanted {
            self.buffer.reserve(wanted);
        }
    }

    #[cfg(test)]
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> FrameReader {
        FrameReader::new(100, FrameMemory::new(1 << 20))
    }

    #[test]
    fn frames_come_out_whole_wherever_the_bytes_were_cut() {
        let stream = [&[0, 0, 0, 3, b'a', b'b', b'c'][..], &[0, 0, 0, 1, b'd']].concat();
        for cut in 0..stream.len() {
            let mut reader = reader();
            let mut frames = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                reader.feed(part);
                while let Some(frame) = reader.cut().unwrap() {
                    frames.push(frame.bytes);
                }
            }
            assert_eq!(frames, ["abc", "d"].map(Bytes::from), "cut at {cut}");
            assert!(!reader.is_midway());
        }
    }

    #[tokio::test]
    async fn room_is_made_as_bytes_come_and_not_as_they_are_announced() {
        let mut reader = FrameReader::new(100 << 20, FrameMemory::new(100 << 20));
        reader.feed(&(90_i32 << 20).to_be_bytes());
        reader.make_room().await;
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES_MAX, "{}", reader.buffer.capacity());
        reader.feed(&vec![0; 8 << 20]);
        reader.make_room().await;
        assert!(reader.buffer.capacity() <= 24 << 20, "{}", reader.buffer.capacity());
        assert!(reader.buffer.capacity() - reader.buffer.len() >= READ_BYTES_MAX);
    }

    #[test]
    fn a_length_that_is_none_is_refused_before_any_room_is_made() {
        for announced in [0, -1, i32::MIN, 101, i32::MAX] {
            let mut reader = reader();
            reader.feed(&announced.to_be_bytes());
            let capacity = reader.buffer.capacity();
            assert!(matches!(reader.cut(), Err(FrameError::Length { .. })), "{announced}");
            assert_eq!(reader.buffer.capacity(), capacity);
        }
    }
}
