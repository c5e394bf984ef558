//! Stories of a compacted topic: the last value of each key stays, at its offset, through crashes and restarts.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

mod world;

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_log::{CleanupPolicy, LogConfig, Novelty};
use highwater_proto::record::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, batches, decode_records,
};
use highwater_proto::{LeaderEpoch, Offset, ProducerId};
use proptest::prelude::*;
use world::{World, small_config, stories};

#[derive(Clone, Debug)]
enum Step {
    Put { records: Vec<(u8, Option<u8>)>, producer: Option<u8>, codec: u8 },
    Flush,
    Roll,
    Checkpoint,
    Compact { wait_ms: u16 },
    PowerCut,
    Kill,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let record = (0_u8..6, proptest::option::weighted(0.8, any::<u8>()));
    let put = (proptest::collection::vec(record, 1..5), proptest::option::of(0_u8..2), 0_u8..5);
    prop_oneof![
        8 => put.prop_map(|(records, producer, codec)| Step::Put { records, producer, codec }),
        2 => Just(Step::Flush),
        3 => Just(Step::Roll),
        2 => Just(Step::Checkpoint),
        3 => (0_u16..300).prop_map(|wait_ms| Step::Compact { wait_ms }),
        1 => Just(Step::PowerCut),
        1 => Just(Step::Kill),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Row {
    key: u8,
    value: Option<Vec<u8>>,
}

struct Topic {
    world: World,
    /// Every record ever appended and not lost, by offset.
    rows: BTreeMap<i64, Row>,
    batches: Vec<(Offset, Offset, Bytes)>,
    flushed: Offset,
    now_ms: i64,
    /// Tombstones younger than this must be there.
    retention_ms: i64,
}

impl Topic {
    fn new(seed: u64) -> Topic {
        let config = LogConfig {
            cleanup: CleanupPolicy::Compact,
            delete_retention_ms: 100,
            cleanable_percent_min: 1,
            segment_bytes_max: 1500,
            ..small_config()
        };
        Topic {
            world: World::new(seed, config),
            rows: BTreeMap::new(),
            batches: Vec::new(),
            flushed: Offset::ZERO,
            now_ms: 1_000_000,
            retention_ms: 100,
        }
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Put { records, producer, codec } => self.put(records, *producer, *codec),
            Step::Flush => self.flushed = self.world.log().flush().unwrap().get(),
            Step::Roll => self.world.log().roll(1_000_000).unwrap(),
            Step::Checkpoint => self.world.log().checkpoint().unwrap(),
            Step::Compact { wait_ms } => {
                self.now_ms += i64::from(*wait_ms);
                let (now_ms, bound) = (self.now_ms, self.flushed);
                let _ = self.world.log().compact(now_ms, bound).unwrap();
            }
            Step::PowerCut => {
                self.world.drop_log();
                self.world.disk.crash();
                self.reopened();
            }
            Step::Kill => {
                self.world.drop_log();
                self.world.disk.kill_process();
                self.reopened();
            }
            Step::Reopen => {
                self.flushed = self.world.log().close().unwrap().get();
                self.world.drop_log();
                self.reopened();
            }
        }
        self.check();
    }

    fn reopened(&mut self) {
        self.world.open();
        let end = self.world.log().log_end();
        assert!(end >= self.flushed, "{end} {}", self.flushed);
        assert!(!self.world.reports.last().unwrap().is_unclean());
        self.rows.retain(|offset, _| *offset < end.0);
        self.batches.retain(|(_, next, _)| *next <= end);
        self.flushed = end;
    }

    fn put(&mut self, records: &[(u8, Option<u8>)], producer: Option<u8>, codec: u8) {
        let mut builder = BatchBuilder::new(Compression::ALL[usize::from(codec)], 1 << 20);
        for (key, value) in records {
            let value = value.map(|value| vec![value; 40]);
            builder.try_append(1_000_000, Some(&[*key]), value.as_deref(), &[]).unwrap();
        }
        let sequence = |id: u8| {
            let mine = |(_, _, batch): &&(Offset, Offset, Bytes)| {
                BatchHeader::parse(batch).unwrap().producer_id == ProducerId(i64::from(id))
            };
            let last = self.batches.iter().rev().find(mine);
            last.map_or(0, |(_, _, batch)| BatchHeader::parse(batch).unwrap().last_sequence() + 1)
        };
        let batch = builder.finish(producer.map(|id| (ProducerId(i64::from(id)), 0, sequence(id))));
        let header = BatchHeader::parse(&batch).unwrap();
        let appended = self.world.log().append(&batch, &header, LeaderEpoch(1), 1_000_000).unwrap();
        for (index, (key, value)) in records.iter().enumerate() {
            let row = Row { key: *key, value: value.map(|value| vec![value; 40]) };
            self.rows.insert(appended.base_offset.0 + index as i64, row);
        }
        self.batches.push((appended.base_offset, appended.end, batch));
    }

    fn stored(&mut self) -> BTreeMap<i64, Row> {
        let bytes = Bytes::from(self.world.read_all());
        let mut rows = BTreeMap::new();
        for batch in batches(bytes) {
            for record in decode_records(&batch.unwrap(), &DecodeLimits::default()).unwrap() {
                let record = record.unwrap();
                let row =
                    Row { key: record.key.unwrap()[0], value: record.value.map(|value| value.to_vec()) };
                assert!(rows.insert(record.offset.0, row).is_none(), "an offset comes once");
            }
        }
        rows
    }

    fn apply_all(&mut self, steps: &[Step]) {
        steps.iter().for_each(|step| self.apply(step));
    }

    /// Sends the producer's last batch that is there once more: what came of it, and what should.
    fn retry_the_last_of(&mut self, id: ProducerId) -> Option<((Novelty, Offset), (Novelty, Offset))> {
        let mine =
            |(_, _, batch): &&(Offset, Offset, Bytes)| BatchHeader::parse(batch).unwrap().producer_id == id;
        let (base, _, batch) = self.batches.iter().rev().find(mine).cloned()?;
        let header = BatchHeader::parse(&batch).unwrap();
        let again = self.world.log().append(&batch, &header, LeaderEpoch(1), 0).unwrap();
        Some(((again.novelty, again.base_offset), (Novelty::Duplicate, base)))
    }

    fn check(&mut self) {
        let stored = self.stored();
        for (offset, row) in &stored {
            assert_eq!(self.rows.get(offset), Some(row), "a record changed, or changed its place");
        }
        for key in 0..6 {
            let last = |rows: &BTreeMap<i64, Row>| {
                rows.iter().rev().find(|(_, row)| row.key == key).map(|(at, row)| (*at, row.clone()))
            };
            let (model, log) = (last(&self.rows), last(&stored));
            // A tombstone may have gone, and then nothing of its key is left.
            let tombstone_gone = log.is_none() && model.as_ref().is_some_and(|(_, row)| row.value.is_none());
            assert!(model == log || tombstone_gone, "key {key}: {model:?} became {log:?}");
        }
        assert_eq!(
            world::scrub(self.world.log()).0,
            vec![],
            "offsets that were compacted away are no damage"
        );
    }
}

proptest! {
    #![proptest_config(stories())]

    #[test]
    fn compaction_keeps_each_keys_last_value_through_crashes(
        seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..40)
    ) {
        let mut topic = Topic::new(seed);
        for step in &steps {
            topic.apply(step);
        }
        topic.apply(&Step::PowerCut);
    }

    #[test]
    fn after_compaction_the_last_batch_of_a_producer_is_still_known(
        seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..30)
    ) {
        let mut topic = Topic::new(seed);
        topic.apply_all(&steps);
        topic.apply_all(&[Step::Roll, Step::Flush, Step::Checkpoint, Step::Compact { wait_ms: 0 }, Step::Kill]);
        for id in 0..2 {
            if let Some((found, expected)) = topic.retry_the_last_of(ProducerId(id)) {
                prop_assert_eq!(found, expected);
            }
        }
    }

    #[test]
    fn a_tombstone_stays_for_its_time_and_goes_after_it(
        seed in any::<u64>(), steps in proptest::collection::vec(step(), 1..20), key in 0_u8..6
    ) {
        let mut topic = Topic::new(seed);
        for step in &steps {
            topic.apply(step);
        }
        topic.apply(&Step::Put { records: vec![(key, None)], producer: None, codec: 0 });
        let at = *topic.rows.last_key_value().unwrap().0;
        let retention_ms = u16::try_from(topic.retention_ms).unwrap();
        let settle = [Step::Roll, Step::Flush, Step::Checkpoint];
        for step in settle.iter().chain(&[Step::Compact { wait_ms: 0 }]) {
            topic.apply(step);
        }
        prop_assert!(topic.stored().contains_key(&at), "its clock starts at the first cleaning");
        let other = Step::Put { records: vec![((key + 1) % 6, Some(1))], producer: None, codec: 0 };
        for step in std::iter::once(&other).chain(&settle).chain(&[Step::Compact { wait_ms: retention_ms - 1 }]) {
            topic.apply(step);
        }
        prop_assert!(topic.stored().contains_key(&at), "its time has not come");
        for step in std::iter::once(&other).chain(&settle).chain(&[Step::Compact { wait_ms: 2 }]) {
            topic.apply(step);
        }
        prop_assert!(!topic.stored().contains_key(&at), "its time is over");
    }
}

/// A producer's newest batch stood for it when compaction dropped the one before; it was not flushed yet, and the power cut
/// that took it left nothing of the producer. A retry was appended again.
#[test]
fn a_power_cut_that_takes_a_producers_newest_batch_leaves_the_one_before_it_known() {
    let put = |producer| Step::Put { records: vec![(0, None)], producer, codec: 0 };
    let mut lost = 0;
    for seed in 0..20 {
        let mut topic = Topic::new(seed);
        topic.apply_all(&[put(Some(1)), put(None), put(None), Step::Flush, Step::Roll, put(Some(1))]);
        let before = topic.world.log().log_end();
        topic.apply_all(&[Step::Checkpoint, Step::Compact { wait_ms: 0 }, Step::PowerCut]);
        lost += i32::from(topic.world.log().log_end() < before);
        let (found, expected) = topic.retry_the_last_of(ProducerId(1)).expect("it is flushed");
        assert_eq!(found, expected, "seed {seed}");
    }
    assert!(lost > 0, "no power cut took anything");
}
