//! Bodies that lie: what passes the guard costs the codec little, and nothing panics.

use bytes::Bytes;
use proptest::prelude::*;

use super::allocation::asked;
use super::every_version;
use crate::listener::kafka::guard::check;
use crate::listener::kafka::guard::codec::codec_of;
use crate::listener::kafka::guard::error::GuardError;
use crate::listener::kafka::guard::generate::{self, KnownTags, Numbers};

/// Most bytes that the codec may ask for at once per byte of a body (an element of two bytes on the wire becomes a
/// struct with a vector and a map), and beside them (its errors carry a backtrace where the environment asks for it).
const PER_BYTE: usize = 64;
const BESIDE: usize = 64 << 10;

/// Numbers that lengths are forged with.
const FORGED: [i32; 8] = [i32::MAX, i32::MIN, -1, -2, 0x7fff, 200_001, 10_001, 0x0fff_ffff];

fn forge(body: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(body.len() + 1);
        let forged = FORGED[numbers.below(FORGED.len())];
        match numbers.below(6) {
            0 => body.truncate(at),
            1 => body.insert(at, numbers.next() as u8),
            2 => body.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
            3 => body.iter_mut().skip(at).zip(forged.to_be_bytes()).for_each(|(old, new)| *old = new),
            4 => {
                body.iter_mut().skip(at).zip((forged as i16).to_be_bytes()).for_each(|(old, new)| *old = new)
            }
            _ => body.iter_mut().skip(at).take(1).for_each(|old| *old = numbers.next() as u8),
        }
    }
}

/// Lets the codec at what passes, and holds it to its memory.
fn judge(api_key: i16, version: i16, body: Vec<u8>) -> Result<(), String> {
    let body = Bytes::from(body);
    let (verdict, guards) = asked(|| check(api_key, version, &body));
    if guards.total != 0 {
        return Err(format!("the guard asked for {guards:?}"));
    }
    if verdict.is_err() {
        return Ok(());
    }
    let (_, codecs) = asked(|| (codec_of(api_key).decode_only)(version, body.clone()));
    if codecs.largest > BESIDE + PER_BYTE * body.len() {
        return Err(format!("key {api_key} version {version}: {codecs:?} for {} bytes", body.len()));
    }
    match (codec_of(api_key).decode)(version, &body) {
        Some(decoded) if decoded.rest != 0 => {
            Err(format!("the guard read on where the codec ended: {body:?}"))
        }
        _ => Ok(()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn forged_bodies_cost_no_more_memory_than_their_length_allows(seed in any::<u64>()) {
        let mut numbers = Numbers(seed);
        for (request, version) in every_version() {
            let mut body = generate::body(request, version, KnownTags::Sent, &mut numbers);
            forge(&mut body, &mut numbers);
            prop_assert_eq!(judge(request.api_key, version, body), Ok(()));
        }
    }

    #[test]
    fn noise_costs_no_more_memory_than_its_length_allows(body in prop::collection::vec(any::<u8>(), 0..300)) {
        for (request, version) in every_version() {
            prop_assert_eq!(judge(request.api_key, version, body.clone()), Ok(()));
        }
    }
}

#[test]
fn each_lie_is_refused_by_its_name() {
    let metadata_1 = |count: i32| count.to_be_bytes().to_vec();
    let cases: &[(i16, i16, Vec<u8>, GuardError)] = &[
        (99, 0, vec![], GuardError::Unserved { api_key: 99, version: 0 }),
        (0, 2, vec![], GuardError::Unserved { api_key: 0, version: 2 }),
        (3, 1, metadata_1(7), GuardError::Count { field: "topics", count: 7, room: 0, at: 4 }),
        (3, 1, metadata_1(-2), GuardError::Negative { field: "topics", length: -2, at: 0 }),
        (3, 1, vec![0, 0, 0, 0, 9], GuardError::Trailing { count: 1 }),
        (3, 1, vec![0, 0, 0], GuardError::Truncated { field: "topics", at: 0 }),
        (37, 0, metadata_1(-1), GuardError::Null { field: "topics", at: 0 }),
        (
            22,
            0,
            vec![0, 5, b'a'],
            GuardError::Length { field: "transactional_id", length: 5, room: 1, at: 2 },
        ),
        (3, 9, vec![0xff; 5], GuardError::Varint { field: "topics", at: 0 }),
        (75, 0, vec![1, 0, 0, 0, 9, 0, 0], GuardError::Presence { field: "cursor", at: 5 }),
        (60, 0, vec![0, 0x91, 0x4e], GuardError::Tags { max: 10_000 }),
        (
            60,
            0,
            vec![0, 1, 5, 3, 0],
            GuardError::Length { field: "tagged fields", length: 3, room: 1, at: 4 },
        ),
    ];
    for (api_key, version, body, expected) in cases {
        assert_eq!(check(*api_key, *version, body), Err(*expected), "key {api_key} version {version}");
    }
}

#[test]
fn a_request_of_more_elements_than_a_request_may_have_is_refused() {
    // DescribeProducers of one topic with 200,001 partitions, all of them there.
    let mut body = vec![2, 2, b't', 0xc2, 0x9a, 0x0c];
    body.resize(body.len() + 4 * 200_001, 0);
    body.extend([0, 0]);
    assert_eq!(check(61, 0, &body), Err(GuardError::Objects { max: 200_000 }));
}

#[test]
fn a_known_tag_that_is_longer_than_its_value_is_refused() {
    // Fetch 12: an empty request with a cluster id of one letter in a field that says three bytes, then four.
    let mut body = vec![0; 4 + 4 + 4 + 4 + 1 + 4 + 4];
    body.extend([1, 1, 1]);
    let with_tag = |size: u8, value: &[u8]| [&body[..], &[1, 0, size], value].concat();
    assert_eq!(check(1, 12, &with_tag(2, &[2, b'c'])), Ok(()));
    let refused = check(1, 12, &with_tag(3, &[2, b'c', 0]));
    assert_eq!(refused, Err(GuardError::TagSize { field: "cluster_id", at: body.len() + 3 }));
}
