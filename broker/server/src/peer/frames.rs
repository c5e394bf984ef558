//! Frames: a length and so many bytes, read out of one buffer whose memory is used again.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes asked of the socket at a time.
const READ_BYTES: usize = 256 << 10;

/// Why no frame came.
#[derive(Debug, Error)]
pub(crate) enum FrameError {
    /// The other side closed the connection, between two frames.
    #[error("the connection was closed")]
    Closed,
    /// Nothing came for too long.
    #[error("nothing was heard for {0:?}")]
    Silent(Duration),
    /// It would be too long.
    #[error("a frame of {bytes} bytes is longer than {bytes_max}")]
    TooLong {
        /// As announced.
        bytes: usize,
        /// The most that is taken.
        bytes_max: usize,
    },
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Cuts frames out of a stream.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    bytes_max: usize,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, bytes_max: usize) -> FrameReader<R> {
        FrameReader { stream, buffer: BytesMut::new(), bytes_max }
    }

    /// The next frame's bytes. Fails when nothing at all comes for so long.
    pub(crate) async fn next(&mut self, patience: Duration) -> Result<Bytes, FrameError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            // Memory grows with what has come, not with what was announced.
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
                self.buffer.reserve(READ_BYTES.max(self.missing().min(4 << 20)));
            }
            let reading = self.stream.read_buf(&mut self.buffer);
            match tokio::time::timeout(patience, reading).await {
                Err(_) => return Err(FrameError::Silent(patience)),
                Ok(Ok(0)) if self.buffer.is_empty() => return Err(FrameError::Closed),
                Ok(Ok(0)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
            }
        }
    }

    /// A whole frame that has come already.
    fn take(&mut self) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let bytes = u32::from_be_bytes(*head) as usize;
        if bytes > self.bytes_max {
            return Err(FrameError::TooLong { bytes, bytes_max: self.bytes_max });
        }
        if self.buffer.len() < 4 + bytes {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(bytes).freeze()))
    }

    fn missing(&self) -> usize {
        let Some(head) = self.buffer.first_chunk::<4>() else { return 0 };
        (u32::from_be_bytes(*head) as usize + 4).saturating_sub(self.buffer.len())
    }
}

/// Writes the parts one after the other.
pub(crate) async fn write_parts<W: AsyncWrite + Unpin>(writer: &mut W, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> =
        parts.iter().filter(|part| !part.is_empty()).map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn frames_come_whole_whatever_the_pieces() {
        let (mut near, far) = tokio::io::duplex(7);
        let writing = tokio::spawn(async move {
            write_parts(&mut near, &[&[0, 0, 0, 5], b"hel", b"", b"lo"]).await.unwrap();
            write_parts(&mut near, &[&[0, 0, 0, 0, 0, 0, 0, 1, b'x', 0, 0]]).await.unwrap();
        });
        let mut reader = FrameReader::new(far, 16);
        for expected in [&b"hello"[..], b"", b"x"] {
            assert_eq!(reader.next(PATIENCE).await.unwrap(), expected);
        }
        writing.await.unwrap();
        assert!(matches!(reader.next(PATIENCE).await, Err(FrameError::Io(_))), "cut in a frame's head");
    }

    #[tokio::test]
    async fn a_frame_that_is_too_long_is_refused_by_its_head() {
        let (mut near, far) = tokio::io::duplex(64);
        write_parts(&mut near, &[&[0, 0, 0, 17]]).await.unwrap();
        let refused = FrameReader::new(far, 16).next(PATIENCE).await;
        assert!(matches!(refused, Err(FrameError::TooLong { bytes: 17, bytes_max: 16 })));
    }

    #[tokio::test]
    async fn silence_is_an_error() {
        let (_near, far) = tokio::io::duplex(64);
        let patience = Duration::from_millis(5);
        assert!(matches!(FrameReader::new(far, 16).next(patience).await, Err(FrameError::Silent(_))));
    }
}
