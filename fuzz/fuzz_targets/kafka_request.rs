//! Arbitrary bytes as Kafka requests, and legal requests with a few bytes changed: the guard must refuse whatever would
//! cost memory, and what it lets through the codec must read to its end or refuse in its turn.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| highwater_server::fuzzing::kafka_request(input));
