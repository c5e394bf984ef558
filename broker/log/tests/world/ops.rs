//! What can happen to a log in a story, and how stories are drawn.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// One step of a story.
#[derive(Clone, Debug)]
pub enum Op {
    Append {
        value_bytes: u16,
        records: u8,
        producer: Option<u8>,
        time: i16,
        codec: u8,
    },
    /// A producer sends one of its last batches again.
    Retry {
        producer: u8,
        back: u8,
    },
    Flush,
    /// Appends between the beginning and the end of a flush.
    OverlappedFlush {
        value_bytes: u16,
    },
    Roll,
    Checkpoint,
    NewEpoch,
    Truncate {
        permille: u16,
    },
    DeleteRecords {
        permille: u16,
    },
    Retain {
        bytes: u16,
    },
    Read {
        permille: u16,
        max_bytes: u16,
    },
    /// Keeps a slice to look at again at the end.
    Hold {
        permille: u16,
    },
    Sweep,
    PowerCut,
    Kill,
    Reopen,
    Fail {
        call: u8,
        nth: u8,
        kind: u8,
    },
}

pub fn append_op() -> impl Strategy<Value = Op> {
    (0_u16..900, 1_u8..5, proptest::option::of(0_u8..3), -500_i16..500, 0_u8..10).prop_map(
        |(value_bytes, records, producer, time, codec)| Op::Append {
            value_bytes,
            records,
            producer,
            time,
            // Mostly uncompressed, so that sizes vary.
            codec: codec.saturating_sub(5),
        },
    )
}

/// Everything a log does in a good life.
pub fn plain_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => append_op(),
        2 => (0_u8..3, 0_u8..5).prop_map(|(producer, back)| Op::Retry { producer, back }),
        4 => Just(Op::Flush),
        2 => (0_u16..500).prop_map(|value_bytes| Op::OverlappedFlush { value_bytes }),
        1 => Just(Op::Roll),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::NewEpoch),
        2 => (0_u16..=1000, 0_u16..3000).prop_map(|(permille, max_bytes)| Op::Read { permille, max_bytes }),
        1 => Just(Op::Sweep),
    ]
}

/// With truncation and removal.
pub fn shrinking_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => plain_op(),
        2 => (0_u16..=1000).prop_map(|permille| Op::Truncate { permille }),
        1 => (0_u16..=1000).prop_map(|permille| Op::DeleteRecords { permille }),
        1 => (1000_u16..20000).prop_map(|bytes| Op::Retain { bytes }),
        1 => (0_u16..=1000).prop_map(|permille| Op::Hold { permille }),
    ]
}

/// With power cuts, kills and orderly restarts.
pub fn crashing_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        16 => shrinking_op(),
        1 => Just(Op::PowerCut),
        1 => Just(Op::Kill),
        1 => Just(Op::Reopen),
    ]
}

/// With a disk that fails.
pub fn failing_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => crashing_op(),
        2 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(call, nth, kind)| Op::Fail { call, nth, kind }),
    ]
}

pub fn story<S: Strategy<Value = Op>>(op: S, steps: usize) -> impl Strategy<Value = (u64, Vec<Op>)> {
    (any::<u64>(), proptest::collection::vec(op, 1..steps))
}

/// A thousand stories for each property, or as many more as the environment asks for.
pub fn stories() -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(1000),
        failure_persistence: None,
        max_shrink_iters: 2000,
        // The same stories each time: a failure is the change's, and the environment can ask for others.
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x4849_4748),
            fixed => fixed,
        },
        ..default
    }
}
