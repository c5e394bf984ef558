//! The guard and the codec under a fuzzer.

use bytes::Bytes;

use super::codec::codec_of;
use super::generate::{self, KnownTags, Numbers};
use super::requests::REQUESTS;
use super::schema::Request;
use super::walk::check;

/// Lets the guard and, behind it, the codec at a body. The first byte picks the API and its version. The second says
/// how the body is made: even, the rest as it is; odd, a legal one from the eight bytes that follow, changed by the
/// rest: two bytes of a place, one of a value.
///
/// # Panics
/// When guard and codec disagree.
pub fn kafka_request(input: &[u8]) {
    let [choice, making, rest @ ..] = input else { return };
    let every = REQUESTS.iter().flat_map(|request| {
        let (first, last) = request.versions;
        (first..=last).map(move |version| (request, version))
    });
    let every: Vec<(&Request, i16)> = every.collect();
    let (request, version) = every[usize::from(*choice) % every.len()];
    match rest.split_first_chunk::<8>() {
        Some((seed, changes)) if making % 2 == 1 => {
            let mut numbers = Numbers(u64::from_le_bytes(*seed));
            let mut body = if making & 2 == 0 {
                generate::body(request, version, KnownTags::Sent, &mut numbers)
            } else {
                generate::telling_body(request.api_key, version, &mut numbers)
            };
            for [high, low, value] in changes.as_chunks::<3>().0 {
                let place = usize::from(u16::from_be_bytes([*high, *low])) % (body.len() + 1);
                match body.get_mut(place) {
                    Some(byte) => *byte = *value,
                    None => body.push(*value),
                }
            }
            judge(request.api_key, version, Bytes::from(body));
        }
        _ => judge(request.api_key, version, Bytes::copy_from_slice(rest)),
    }
}

fn judge(api_key: i16, version: i16, body: Bytes) {
    if check(api_key, version, &body).is_err() {
        return;
    }
    if let Some(decoded) = (codec_of(api_key).decode)(version, &body) {
        assert_eq!(decoded.rest, 0, "the guard read on where the codec ended");
        assert_eq!(check(api_key, version, &decoded.encoded), Ok(()), "refused what the codec wrote");
    }
}
