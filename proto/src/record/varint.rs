//! Variable-length integers of the record format: zigzag, seven bits a byte, least significant group first.
//!
//! Bounded: 5 bytes hold 32 bits, 10 hold 64; a longer one, or one whose last byte carries bits beyond the type, is
//! refused. An encoding longer than needed (`80 00` for 0) is read, as every Kafka client reads it.

/// Bytes of the longest 32-bit varint.
pub const MAX_BYTES_32: usize = 5;
/// Bytes of the longest 64-bit varint.
pub const MAX_BYTES_64: usize = 10;

/// Folds the sign into the lowest bit, so that numbers near zero are short.
#[inline]
pub const fn zigzag_32(value: i32) -> u32 {
    ((value << 1) ^ (value >> 31)).cast_unsigned()
}

/// Undoes [`zigzag_32`].
#[inline]
pub const fn unzigzag_32(value: u32) -> i32 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Folds the sign into the lowest bit, so that numbers near zero are short.
#[inline]
pub const fn zigzag_64(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// Undoes [`zigzag_64`].
#[inline]
pub const fn unzigzag_64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// How many bytes [`write()`] takes for this number; equal for a 32-bit number widened to 64.
#[inline]
pub const fn size_bytes(value: i64) -> usize {
    let significant_bits = 64 - (zigzag_64(value) | 1).leading_zeros() as usize;
    significant_bits.div_ceil(7)
}

/// Writes `value` at the start of `out` and returns how many bytes it took. A 32-bit number is widened first: the
/// bytes are the same.
///
/// # Panics
/// When `out` is shorter than [`size_bytes`] of the value; callers size their buffers with the `MAX_BYTES` constants.
#[inline]
pub fn write(value: i64, out: &mut [u8]) -> usize {
    let mut rest = zigzag_64(value);
    let mut at = 0;
    while rest >= 0x80 {
        out[at] = (rest & 0x7f) as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

/// Appends `value` to a vector.
#[inline]
pub fn push(value: i64, out: &mut Vec<u8>) {
    let mut bytes = [0; MAX_BYTES_64];
    let length = write(value, &mut bytes);
    out.extend_from_slice(&bytes[..length]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::cursor::{SliceCursor, Source};

    #[test]
    fn known_numbers_have_known_bytes() {
        for (value, expected) in [
            (0_i64, &[0x00_u8][..]),
            (-1, &[0x01]),
            (1, &[0x02]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (8191, &[0xfe, 0x7f]),
            (8192, &[0x80, 0x80, 0x01]),
            (i64::from(i32::MAX), &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i64::from(i32::MIN), &[0xff, 0xff, 0xff, 0xff, 0x0f]),
            (i64::MAX, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        ] {
            let mut bytes = Vec::new();
            push(value, &mut bytes);
            assert_eq!(bytes, expected, "{value}");
            assert_eq!(size_bytes(value), expected.len(), "{value}");
            assert_eq!(SliceCursor::new(&bytes).varint_64(), Ok(value));
            if let Ok(narrow) = i32::try_from(value) {
                assert_eq!(SliceCursor::new(&bytes).varint_32(), Ok(narrow));
            }
        }
    }

    #[test]
    fn a_varint_that_is_too_long_or_too_wide_is_refused() {
        for bytes in [&[0x80, 0x80, 0x80, 0x80, 0x10][..], &[0xff; 5], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]]
        {
            assert!(SliceCursor::new(bytes).varint_32().is_err(), "{bytes:x?}");
        }
        let mut wide = [0x80_u8; 10];
        wide[9] = 0x02;
        assert!(SliceCursor::new(&wide).varint_64().is_err());
        assert!(SliceCursor::new(&[0xff; 11]).varint_64().is_err());
        assert!(SliceCursor::new(&[0x80]).varint_32().is_err(), "cut");
        assert_eq!(
            SliceCursor::new(&[0x80, 0x00]).varint_32(),
            Ok(0),
            "longer than needed, but within bounds"
        );
    }
}
