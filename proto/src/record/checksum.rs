//! CRC-32C (Castagnoli, RFC 3720) of a batch: everything from the attributes on, so that base offset and leader epoch
//! can be set without touching it.

use super::error::BatchError;
use super::header::{BatchHeader, at};

/// CRC-32C of some bytes.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
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
}
