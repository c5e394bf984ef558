//! Where the fields of an ordinary record lie: the short cut past [`super::cursor`] that nearly all records take.
//!
//! Ordinary means: no headers, no reserved attributes, lengths below 1 MiB, timestamps within hours of each other, and
//! nothing wrong. Anything else gives `None` and no reason, which keeps this free of error values; the caller then
//! reads the record again, carefully.

use super::varint::{unzigzag_32, unzigzag_64};

/// A record found at some position of a body. Positions are in the body; `end` is where the next record begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    pub(super) delta_ms: i64,
    pub(super) offset_delta: i32,
    pub(super) key: Option<(usize, usize)>,
    pub(super) value: Option<(usize, usize)>,
    pub(super) end: usize,
}

/// The ordinary record at `at`.
#[inline(always)]
pub(super) fn ordinary(body: &[u8], at: usize) -> Option<Layout> {
    let (length, at) = short_varint(body, at)?;
    let length = unzigzag_32(length);
    let end = at.checked_add(usize::try_from(length).ok()?)?;
    // From here on nothing is read beyond the record.
    let body = body.get(..end)?;
    if *body.get(at)? != 0 {
        return None;
    }
    let (delta, at) = short_varint(body, at + 1)?;
    let (offset_delta, at) = short_varint(body, at)?;
    let (key, at) = nullable(body, at)?;
    let (value, at) = nullable(body, at)?;
    // No headers, and the record ends here.
    if at + 1 != end || *body.get(at)? != 0 {
        return None;
    }
    Some(Layout {
        delta_ms: unzigzag_64(u64::from(delta)),
        offset_delta: unzigzag_32(offset_delta),
        key,
        value,
        end,
    })
}

/// A length and its bytes, as start and end; and the position after them.
#[inline(always)]
fn nullable(body: &[u8], at: usize) -> Option<(Option<(usize, usize)>, usize)> {
    let (length, at) = short_varint(body, at)?;
    // 1 is the zigzag of -1; other odd numbers are negative lengths.
    if length & 1 == 1 {
        return (length == 1).then_some((None, at));
    }
    let end = at + (length >> 1) as usize;
    (end <= body.len()).then_some((Some((at, end)), end))
}

/// A varint of at most three bytes, still zigzag, and the position after it.
#[inline(always)]
fn short_varint(body: &[u8], at: usize) -> Option<(u32, usize)> {
    let first = u32::from(*body.get(at)?);
    if first < 0x80 {
        return Some((first, at + 1));
    }
    let second = u32::from(*body.get(at + 1)?);
    let value = first & 0x7f | (second & 0x7f) << 7;
    if second < 0x80 {
        return Some((value, at + 2));
    }
    let third = u32::from(*body.get(at + 2)?);
    (third < 0x80).then_some((value | third << 14, at + 3))
}
