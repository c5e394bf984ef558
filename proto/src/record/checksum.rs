//! CRC-32C (Castagnoli, RFC 3720) of a batch: everything from the attributes on, so that base offset and leader epoch
//! can be set without touching it.

use super::error::BatchError;
use super::header::{BatchHeader, at};

/// CRC-32C of some bytes.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// The polynomial, lowest coefficient in the highest bit, as the checksum itself is kept.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// x to the power of 2^n modulo the polynomial, for every n that a length in bits can have.
const SQUARES: [u32; 64] = {
    let mut squares = [1 << 30; 64];
    let mut n = 1;
    while n < 64 {
        squares[n] = multiply(squares[n - 1], squares[n - 1]);
        n += 1;
    }
    squares
};

/// What a checksum's share becomes when `count` more bytes follow: crc(a ++ b) = shift(crc(a), length of b) ^ crc(b).
/// A few hundred steps, however many bytes there are.
pub(super) fn shift(crc: u32, count: usize) -> u32 {
    let mut power = 1 << 31;
    let mut bits = count;
    let mut square = 3; // a byte is 2^3 bits
    while bits != 0 {
        if bits & 1 == 1 {
            power = multiply(SQUARES[square], power);
        }
        bits >>= 1;
        square += 1;
    }
    multiply(power, crc)
}

/// Product of two polynomials modulo the checksum's.
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = 1 << 31;
    while bit != 0 {
        // All ones or all zeros instead of a branch that nothing could predict.
        product ^= b & 0_u32.wrapping_sub((a & bit != 0) as u32);
        b = (b >> 1) ^ (POLYNOMIAL & 0_u32.wrapping_sub(b & 1));
        bit >>= 1;
    }
    product
}

/// Checks that `batch` is exactly one batch and that its checksum holds.
///
/// # Errors
/// [`BatchHeader::parse`]'s, a length that is not the batch's, or [`BatchError::Checksum`].
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    check_length(batch, &header)?;
    check_crc(batch, &header)
}

/// `batch` is as long as its header says, no less and no more.
#[inline]
pub(super) fn check_length(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let batch_bytes = header.size_bytes();
    if batch.len() < batch_bytes {
        return Err(BatchError::Truncated { needed_bytes: batch_bytes, available_bytes: batch.len() });
    }
    if batch.len() > batch_bytes {
        return Err(BatchError::TrailingBytes { batch_bytes, given_bytes: batch.len() });
    }
    Ok(())
}

#[inline]
pub(super) fn check_crc(batch: &[u8], header: &BatchHeader) -> Result<(), BatchError> {
    let computed = crc32c(&batch[at::ATTRIBUTES..]);
    if computed != header.crc {
        return Err(BatchError::Checksum { stored: header.crc, computed });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_is_castagnolis() {
        // RFC 3720, appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_checksum_of_two_parts_follows_from_theirs() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
        for length in [0, 1, 7, 8, 61, 4096, 65_537, bytes.len()] {
            let (front, back) = bytes.split_at(bytes.len() - length);
            assert_eq!(shift(crc32c(front), length) ^ crc32c(back), crc32c(&bytes), "{length}");
        }
    }
}
