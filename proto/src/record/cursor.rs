//! Reading the fields of a record, from a slice (fast) or from a stream of decompressed chunks (small memory).
//!
//! [`Source`] is what the record grammar needs; the two readers below differ only in where the bytes lie.

use super::compression::Decompressor;
use super::error::{BatchError, RecordFault};
use super::varint;

/// Bytes that are read in order and never twice.
pub(super) trait Source {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, RecordFault>;
    /// Passes over `count` bytes.
    fn skip(&mut self, count: usize) -> Result<(), RecordFault>;
    /// How many bytes the record still has.
    fn remaining(&self) -> usize;

    /// A zigzag varint of at most 32 bits.
    #[inline(always)]
    fn varint_32(&mut self) -> Result<i32, RecordFault> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(varint::unzigzag_32(u32::from(first)));
        }
        // Lengths of a few hundred bytes to 8 KiB are what batches are made of.
        let second = self.byte()?;
        let value = u32::from(first & 0x7f) | u32::from(second & 0x7f) << 7;
        if second < 0x80 {
            return Ok(varint::unzigzag_32(value));
        }
        self.varint_32_beyond(value)
    }

    /// The rest of a 32-bit varint, after two bytes.
    #[inline(never)]
    fn varint_32_beyond(&mut self, mut value: u32) -> Result<i32, RecordFault> {
        for shift in [14, 21] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(varint::unzigzag_32(value));
            }
        }
        match self.byte()? {
            last @ 0..=0x0f => Ok(varint::unzigzag_32(value | u32::from(last) << 28)),
            _ => Err(RecordFault::VarintTooLong),
        }
    }

    /// A zigzag varint of at most 64 bits.
    #[inline(always)]
    fn varint_64(&mut self) -> Result<i64, RecordFault> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(varint::unzigzag_64(u64::from(first)));
        }
        self.varint_64_beyond(u64::from(first & 0x7f))
    }

    /// The rest of a 64-bit varint, after one byte.
    #[inline(never)]
    fn varint_64_beyond(&mut self, mut value: u64) -> Result<i64, RecordFault> {
        for shift in (7..63).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(varint::unzigzag_64(value));
            }
        }
        match self.byte()? {
            last @ 0..=1 => Ok(varint::unzigzag_64(value | u64::from(last) << 63)),
            _ => Err(RecordFault::VarintTooLong),
        }
    }
}

/// A [`Source`] over bytes in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct SliceCursor<'a> {
    bytes: &'a [u8],
    /// Never beyond the end.
    at: usize,
}

impl<'a> SliceCursor<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8]) -> SliceCursor<'a> {
        SliceCursor { bytes, at: 0 }
    }

    /// How many bytes were read.
    #[inline]
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The next `count` bytes, taken off the front.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], RecordFault> {
        let start = self.at;
        self.skip(count)?;
        Ok(&self.bytes[start..self.at])
    }
}

impl Source for SliceCursor<'_> {
    #[inline(always)]
    fn byte(&mut self) -> Result<u8, RecordFault> {
        let &byte = self.bytes.get(self.at).ok_or(RecordFault::Truncated)?;
        self.at += 1;
        Ok(byte)
    }

    #[inline(always)]
    fn skip(&mut self, count: usize) -> Result<(), RecordFault> {
        if count > self.remaining() {
            return Err(RecordFault::Truncated);
        }
        self.at += count;
        Ok(())
    }

    #[inline(always)]
    fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }
}

/// A [`Source`] over a decompressor, for records that straddle its chunks. Holds no record bytes itself.
pub(super) struct StreamCursor<'s, 'a> {
    stream: &'s mut Decompressor<'a>,
    remaining: usize,
    /// Why the stream stopped, when a method returned [`RecordFault::Stream`].
    failure: Option<BatchError>,
}

impl<'s, 'a> StreamCursor<'s, 'a> {
    /// Reads at most `remaining` bytes of `stream`.
    pub(super) fn new(stream: &'s mut Decompressor<'a>, remaining: usize) -> StreamCursor<'s, 'a> {
        StreamCursor { stream, remaining, failure: None }
    }

    /// Puts the decompressor's own error in the place of [`RecordFault::Stream`].
    pub(super) fn explain(self, fault: RecordFault, record_index: i32) -> BatchError {
        match (fault, self.failure) {
            (RecordFault::Stream, Some(failure)) => failure,
            (fault, _) => BatchError::Record { record_index, fault },
        }
    }

    fn chunk(&mut self) -> Result<&[u8], RecordFault> {
        match self.stream.fill() {
            Ok([]) => Err(RecordFault::Truncated),
            Ok(chunk) => Ok(chunk),
            Err(failure) => {
                self.failure = Some(failure);
                Err(RecordFault::Stream)
            }
        }
    }
}

impl Source for StreamCursor<'_, '_> {
    fn byte(&mut self) -> Result<u8, RecordFault> {
        if self.remaining == 0 {
            return Err(RecordFault::Truncated);
        }
        let byte = self.chunk()?[0];
        self.stream.consume(1);
        self.remaining -= 1;
        Ok(byte)
    }

    fn skip(&mut self, count: usize) -> Result<(), RecordFault> {
        if count > self.remaining {
            return Err(RecordFault::Truncated);
        }
        let mut left = count;
        while left > 0 {
            let passed = self.chunk()?.len().min(left);
            self.stream.consume(passed);
            left -= passed;
        }
        self.remaining -= count;
        Ok(())
    }

    fn remaining(&self) -> usize {
        self.remaining
    }
}
