//! The header of a request: which API, in which version, under which number.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::ApiKey;
use thiserror::Error;

/// Most tagged fields of a header.
const TAGS_MAX: u32 = 10_000;

/// A request's header, and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The API's number, as sent.
    pub(super) key: i16,
    /// The version, as sent.
    pub(super) version: i16,
    /// The client's number for this request, returned with its answer.
    pub(super) correlation: i32,
    /// What the client calls itself.
    pub(super) client_id: Bytes,
    /// The request's body.
    pub(super) body: Bytes,
}

/// A header that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the request's header is malformed")]
pub(super) struct HeaderError;

impl Request {
    /// Reads the header of a frame. Of a version that isn't known the header is read as far as every version has it.
    pub(super) fn parse(mut frame: Bytes) -> Result<Request, HeaderError> {
        let key = frame.try_get_i16().map_err(|_| HeaderError)?;
        let version = frame.try_get_i16().map_err(|_| HeaderError)?;
        let correlation = frame.try_get_i32().map_err(|_| HeaderError)?;
        let length = frame.try_get_i16().map_err(|_| HeaderError)?;
        let length = if length == -1 { 0 } else { usize::try_from(length).map_err(|_| HeaderError)? };
        if length > frame.len() {
            return Err(HeaderError);
        }
        let client_id = frame.split_to(length);
        if ApiKey::try_from(key).is_ok_and(|key| key.request_header_version(version) >= 2) {
            match skip_tags(&mut frame) {
                // Of its first request a client does not know yet how we read it.
                Err(HeaderError) if key == ApiKey::ApiVersions as i16 => {}
                skipped => skipped?,
            }
        }
        Ok(Request { key, version, correlation, client_id, body: frame })
    }
}

fn skip_tags(frame: &mut Bytes) -> Result<(), HeaderError> {
    let count = varint(frame)?;
    if count > TAGS_MAX {
        return Err(HeaderError);
    }
    for _ in 0..count {
        varint(frame)?;
        let size = varint(frame)? as usize;
        if size > frame.len() {
            return Err(HeaderError);
        }
        frame.advance(size);
    }
    Ok(())
}

/// An unsigned varint of at most 5 bytes.
fn varint(frame: &mut Bytes) -> Result<u32, HeaderError> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = frame.try_get_u8().map_err(|_| HeaderError)?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).map_err(|_| HeaderError);
        }
    }
    Err(HeaderError)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Request, HeaderError> {
        Request::parse(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn old_and_new_headers_end_where_the_body_begins() {
        let old = parse(b"\0\x03\0\x01\0\0\0\x07\0\x02meBODY").unwrap();
        assert_eq!((old.key, old.version, old.correlation), (3, 1, 7));
        assert_eq!((&old.client_id[..], &old.body[..]), (&b"me"[..], &b"BODY"[..]));
        let new = parse(b"\0\x03\0\x0c\0\0\0\x07\xff\xff\x01\x05\x02xyBODY").unwrap();
        assert_eq!((&new.client_id[..], &new.body[..]), (&b""[..], &b"BODY"[..]));
    }

    #[test]
    fn a_header_that_ends_early_or_lies_is_refused() {
        let whole = b"\0\x03\0\x0c\0\0\0\x07\0\x02me\x01\x05\x02xy";
        assert!(parse(whole).is_ok());
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).unwrap_err(), HeaderError, "{end} bytes");
        }
        for lying in [
            &b"\0\x03\0\x0c\0\0\0\x07\xff\xfe\0"[..],
            b"\0\x03\0\x0c\0\0\0\x07\xff\xff\xff\xff\xff\xff\x0f",
            b"\0\x03\0\x0c\0\0\0\x07\xff\xff\x80\x80\x80\x80\x80\x00",
            b"\0\x03\0\x0c\0\0\0\x07\x7f\xff\0",
        ] {
            assert_eq!(parse(lying).unwrap_err(), HeaderError, "{lying:?}");
        }
    }
}
