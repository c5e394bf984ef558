//! What is a request to the codec is one to the guard, byte for byte.

use bytes::Bytes;
use proptest::prelude::*;

use super::every_version;
use crate::listener::kafka::guard::check;
use crate::listener::kafka::guard::codec::{CODECS, codec_of};
use crate::listener::kafka::guard::generate::{self, KnownTags, Numbers};
use crate::listener::kafka::guard::requests::REQUESTS;

#[test]
fn the_table_has_the_codecs_versions_and_every_request_once() {
    let table: Vec<_> = REQUESTS.iter().map(|request| (request.api_key, request.versions)).collect();
    let codecs: Vec<_> = CODECS.iter().map(|codec| (codec.api_key, codec.versions)).collect();
    assert_eq!(table, codecs);
    assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn a_request_of_defaults_passes_in_every_version() {
    let mut seen = 0;
    for (request, version) in every_version() {
        if let Some(body) = (codec_of(request.api_key).default)(version) {
            assert_eq!(check(request.api_key, version, &body), Ok(()), "{} v{version}", request.api_key);
            seen += 1;
        }
    }
    assert!(seen > 70, "the codec has defaults for nearly every version, not only {seen}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Bodies made along the table are whole messages to the codec, and come out of it as they went in; so the table
    /// names the fields that the codec reads, no more and no fewer.
    #[test]
    fn the_codec_reads_every_body_of_the_table_to_its_end(seed in any::<u64>()) {
        let mut numbers = Numbers(seed);
        for (request, version) in every_version() {
            let what = format!("key {} version {version}", request.api_key);
            for known in [KnownTags::LeftOut, KnownTags::Sent] {
                let body = Bytes::from(generate::body(request, version, known, &mut numbers));
                prop_assert_eq!(check(request.api_key, version, &body), Ok(()), "{}", &what);
                let decode = codec_of(request.api_key).decode;
                let decoded = decode(version, &body);
                prop_assert!(decoded.is_some(), "{} is refused by the codec: {:?}", what, body);
                let decoded = decoded.expect("checked above");
                prop_assert_eq!(decoded.rest, 0, "{} goes on after its end", &what);
                prop_assert_eq!(check(request.api_key, version, &decoded.encoded), Ok(()), "{}", &what);
                let again = decode(version, &decoded.encoded).expect("the codec reads what it wrote");
                prop_assert_eq!(&again.text, &decoded.text);
                if known == KnownTags::LeftOut {
                    prop_assert_eq!(&decoded.encoded, &body, "{} comes back otherwise", &what);
                }
            }
        }
    }

    #[test]
    fn a_body_cut_anywhere_or_with_a_byte_too_many_is_refused(seed in any::<u64>()) {
        let mut numbers = Numbers(seed);
        for (request, version) in every_version() {
            let body = generate::body(request, version, KnownTags::Sent, &mut numbers);
            for end in 0..body.len() {
                prop_assert!(check(request.api_key, version, &body[..end]).is_err());
            }
            let longer = [&body[..], &[0]].concat();
            prop_assert!(check(request.api_key, version, &longer).is_err());
        }
    }
}
