//! The queue against a partition that refuses, loses and repeats at random: whatever happens, what is acknowledged
//! stands in the log once, in order, at the offset that was told.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use highwater_proto::record::{BatchHeader, DecodeLimits, decode_records, verify_crc};
use highwater_proto::{ProducerId, TopicId};
use proptest::prelude::*;

use super::*;

/// A log with the rules of a real one: sequences in order, the last five batches known again (M-30 to M-33).
#[derive(Default)]
struct Partition {
    records: Vec<u32>,
    producer: Option<(i64, i32)>,
    recent: VecDeque<(i64, i32, i64)>,
}

impl Partition {
    /// The offset of a batch that is there already.
    fn check(&self, header: &BatchHeader) -> Result<Option<i64>, ErrorCode> {
        let (id, sequence) = (header.producer_id.0, header.base_sequence);
        if let Some((_, _, base)) = self.recent.iter().find(|(i, s, _)| (*i, *s) == (id, sequence)) {
            return Ok(Some(*base));
        }
        if self.producer.is_some_and(|(known, next)| known == id && next != sequence) {
            return Err(ErrorCode::OutOfOrderSequenceNumber);
        }
        Ok(None)
    }

    /// Finds fault with the batch, if it is neither there nor out of order.
    fn refuse(&self, batch: &Bytes) -> Result<i64, ErrorCode> {
        let header = BatchHeader::parse(batch).expect("a batch");
        self.check(&header)?.ok_or(ErrorCode::InvalidRecord)
    }

    fn append(&mut self, batch: &Bytes) -> Result<i64, ErrorCode> {
        verify_crc(batch).expect("every batch sent is whole");
        let header = BatchHeader::parse(batch).expect("a batch");
        if let Some(base) = self.check(&header)? {
            return Ok(base);
        }
        let base = self.records.len() as i64;
        for record in decode_records(batch, &DecodeLimits::default()).expect("decodable") {
            let value = record.expect("a record").value.expect("a value");
            self.records.push(u32::from_be_bytes(value[..].try_into().expect("four bytes")));
        }
        let id = header.producer_id.0;
        self.producer = Some((id, sequence_after(header.last_sequence(), 1)));
        self.recent.push_back((id, header.base_sequence, base));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        Ok(base)
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Step {
    Append,
    Drain,
    /// The oldest request in flight arrives, and is answered.
    Answer,
    Refuse,
    AppendAndRefuse,
    RefuseForGood,
    /// The connection breaks: this many of the requests in flight arrived before, none is answered.
    Lose(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => Just(Step::Append),
        6 => Just(Step::Drain),
        6 => Just(Step::Answer),
        1 => Just(Step::Refuse),
        1 => Just(Step::AppendAndRefuse),
        1 => Just(Step::RefuseForGood),
        1 => (0..6_usize).prop_map(Step::Lose),
    ]
}

struct Bench {
    queue: PartitionQueue,
    route: Route,
    partition: Partition,
    in_flight: VecDeque<Drained>,
    deliveries: Vec<Delivery>,
    next_identity: i64,
}

impl Bench {
    fn new() -> Bench {
        let config = ProducerConfig { batch_bytes: 90, ..ProducerConfig::default() };
        let sender = Arc::new(crate::producer::sender::BrokerSender::new(BrokerId(1)));
        let route = Route { topic_id: TopicId([1; 16]), sender: Some(sender), version: 1 };
        let identity = Some(Identity { id: ProducerId(1), epoch: 0 });
        let queue =
            PartitionQueue::new("t".into(), PartitionIndex(0), Arc::new(config), route.clone(), identity);
        Bench {
            queue,
            route,
            partition: Partition::default(),
            in_flight: VecDeque::new(),
            deliveries: Vec::new(),
            next_identity: 2,
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Append => {
                let value = (self.deliveries.len() as u32).to_be_bytes();
                let record = Record::new("t").value(&value);
                self.deliveries.push(self.queue.append(&record, 0, 1).expect("taken").delivery);
            }
            Step::Drain => {
                let (drained, effects) =
                    self.queue.drain(self.route.sender.as_ref().expect("there is a leader"));
                self.in_flight.extend(drained);
                self.apply(effects);
            }
            Step::Answer => self.answer(|partition, batch| partition.append(batch)),
            Step::Refuse => self.answer(|_, _| Err(ErrorCode::NotEnoughReplicas)),
            Step::AppendAndRefuse => {
                self.answer(|partition, batch| partition.append(batch).and(Err(ErrorCode::RequestTimedOut)));
            }
            Step::RefuseForGood => self.answer(|partition, batch| partition.refuse(batch)),
            Step::Lose(arrived) => {
                for (index, drained) in std::mem::take(&mut self.in_flight).into_iter().enumerate() {
                    if index < arrived {
                        // The answer, whatever it was, is lost.
                        let _ = self.partition.append(&drained.part.batch);
                    }
                    let effects = self.queue.lost(drained.id, "the connection broke");
                    self.apply(effects);
                }
            }
        }
        assert!(self.in_flight.len() <= 5, "at most five in flight");
    }

    fn answer(&mut self, result: impl FnOnce(&mut Partition, &Bytes) -> Result<i64, ErrorCode>) {
        let Some(drained) = self.in_flight.pop_front() else { return };
        let result = result(&mut self.partition, &drained.part.batch);
        let answer = grpc::ProducePartitionResult {
            error: result.err().map_or(0, ErrorCode::to_wire),
            base_offset: result.unwrap_or(-1),
            log_append_time_ms: -1,
            ..Default::default()
        };
        let effects = self.queue.answered(drained.id, &answer);
        self.apply(effects);
    }

    fn apply(&mut self, effects: Effects) {
        for (outcome, result) in effects.settled {
            outcome.settle(result);
        }
        if let Some(plan) = effects.recover {
            assert!(self.in_flight.is_empty(), "recovery waits for every answer");
            let identity = plan.new_identity.then(|| {
                self.next_identity += 1;
                Identity { id: ProducerId(self.next_identity), epoch: 0 }
            });
            let effects = self.queue.resume(self.route.clone(), identity);
            self.apply(effects);
        }
    }

    /// Lets everything through and compares.
    fn finish(mut self) {
        let (_, effects) = self.queue.hurry();
        self.apply(effects);
        for _ in 0..10_000 {
            self.step(Step::Drain);
            self.step(Step::Answer);
            let (unsettled, effects) = self.queue.hurry();
            self.apply(effects);
            if unsettled.is_empty() {
                break;
            }
        }
        let mut cx = Context::from_waker(Waker::noop());
        for (index, mut delivery) in self.deliveries.into_iter().enumerate() {
            let Poll::Ready(result) = std::pin::Pin::new(&mut delivery).poll(&mut cx) else {
                panic!("record {index} was never settled");
            };
            match result {
                Ok(metadata) => {
                    let offset = metadata.offset.expect("offsets are known");
                    assert_eq!(self.partition.records[offset.0 as usize], index as u32);
                }
                Err(error) => {
                    assert_eq!(error.code(), Some(ErrorCode::InvalidRecord));
                    assert!(
                        !self.partition.records.contains(&(index as u32)),
                        "{index} was refused for good"
                    );
                }
            }
        }
        assert!(self.partition.records.is_sorted(), "in the order of sending: {:?}", self.partition.records);
        let mut once = self.partition.records.clone();
        once.dedup();
        assert_eq!(once, self.partition.records, "no record twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn whatever_happens_each_record_is_written_once_in_order_where_it_was_told(
        steps in proptest::collection::vec(step(), 0..200),
    ) {
        let mut bench = Bench::new();
        for step in steps {
            bench.step(step);
        }
        bench.finish();
    }
}

#[test]
fn a_sequence_near_the_end_of_its_range_wraps() {
    let mut bench = Bench::new();
    bench.queue.lock().next_sequence = i32::MAX - 2;
    for _ in 0..30 {
        bench.step(Step::Append);
        bench.step(Step::Drain);
    }
    bench.finish();
}

/// A batch was listed with a leader that stopped before it could take it. The queue counted as listed, so the new leader never
/// heard of it, and records waited until the old leader came back; which would then have been sent what is not its own.
#[test]
fn a_batch_listed_with_a_leader_that_stopped_goes_to_the_next_one_and_to_nobody_else() {
    let mut bench = Bench::new();
    bench.step(Step::Append);
    let old = bench.route.sender.clone().expect("there is a leader");
    let new = Arc::new(BrokerSender::new(BrokerId(2)));
    let effects = bench.queue.reroute();
    assert!(effects.recover.is_some());
    let route = Route { sender: Some(new.clone()), version: 2, ..bench.route.clone() };
    let effects = bench.queue.resume(route, None);
    assert!(matches!(effects.schedule, Some(Schedule::Now(to)) if Arc::ptr_eq(&to, &new)), "listed anew");
    assert!(bench.queue.drain(&old).0.is_none(), "the old list is worked off by nobody");
    assert!(bench.queue.drain(&new).0.is_some());
}
