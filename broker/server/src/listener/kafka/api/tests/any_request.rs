//! Whatever a request says: its handler answers, the answer fits the version, and the broker stays whole.

use bytes::Bytes;

use super::*;
use crate::listener::kafka::answer::Envelope;
use crate::listener::kafka::apis::{APIS, Call};
use crate::listener::kafka::guard::{Numbers, telling_body};

/// Rounds of one request of every API in every version.
const ROUNDS: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_handler_answers_every_legal_request() {
    let bench = bench().await;
    let mut answered = 0;
    for round in 0..ROUNDS {
        let mut numbers = Numbers(round);
        for api in APIS {
            let Call::Plain(call) = api.call else { continue };
            for version in api.min..=api.max {
                let body = telling_body(api.key as i16, version, &mut numbers);
                let envelope = Envelope { key: api.key, version, correlation: 7 };
                let what = format!("round {round}: {:?} v{version}: {body:?}", api.key);
                let answer = call(bench.context.clone(), envelope, Bytes::from(body)).await;
                let answer = answer.unwrap_or_else(|refusal| panic!("{what}: {refusal}"));
                let length = i32::from_be_bytes(answer[..4].try_into().unwrap());
                assert_eq!(length as usize, answer.len() - 4, "{what}");
                answered += 1;
            }
        }
        assert_eq!(bench.context.services.image().check_invariants(), Ok(()), "round {round}");
        // Topics come and go on the way; these are there at the beginning of each round.
        for topic in ["t", "u"] {
            if bench.context.services.image().topic_named(topic).is_none() {
                bench.create(topic, 2).await;
            }
        }
    }
    assert!(answered > 60 * ROUNDS, "{answered}");
}
