//! Writes histories by hand, in a few words each.

use std::collections::BTreeMap;

use crate::checker::{Report, check_ops};
use crate::history::{
    End, Fault, Header, Key, Kind, ListSpec, Op, Outcome, Phase, PollMode, Read, Topic, Value,
};
use highwater_proto::Offset;

/// The producer of every story.
pub(super) const PRODUCER: u32 = 1;

/// A history that is being made up. Each operation takes 10 microseconds and begins 10 after the last one ended.
#[derive(Clone, Debug, Default)]
pub(super) struct Story {
    pub(super) header: Header,
    pub(super) ops: Vec<Op>,
    now: u64,
}

impl Story {
    /// About topic `t` with one partition.
    pub(super) fn new() -> Story {
        let mut story = Story::default();
        story.header.topics.insert("t".to_owned(), Topic { partitions: 1 });
        story
    }

    /// A story in which nothing is wrong, up to its end, with `sends` records at offsets from 0 on.
    pub(super) fn good(sends: u64) -> Story {
        let mut story = Story::new();
        for sequence in 0..sends {
            story.sent(sequence, sequence.cast_signed());
        }
        story.assign(7, 0).poll(7, &(0..sends).map(|i| (i.cast_signed(), i)).collect::<Vec<_>>());
        story
    }

    /// After the heal one more record, `sequence` at `offset`; then everything in `log` is drained.
    pub(super) fn end(mut self, sequence: u64, offset: i64, log: &[(i64, u64)]) -> Report {
        self.finish(sequence, offset, log);
        check_ops(&self.header, self.ops)
    }

    pub(super) fn finish(&mut self, sequence: u64, offset: i64, log: &[(i64, u64)]) {
        self.phase(Phase::Healed).sent(sequence, offset).phase(Phase::FinalDrain);
        let mut log = log.to_vec();
        log.push((offset, sequence));
        self.assign(1000, 0).poll(1000, &log).phase(Phase::Drained);
    }

    pub(super) fn op(&mut self, proc: u32, outcome: Outcome, kind: Kind) -> &mut Story {
        self.now += 20;
        let idx = self.ops.len() as u64;
        let op = Op {
            idx,
            t_invoke: self.now - 10,
            t_complete: Some(self.now),
            proc,
            outcome,
            error: None,
            deadline_us: Some(1000),
            kind,
        };
        self.ops.push(op);
        self
    }

    pub(super) fn send(&mut self, sequence: u64, outcome: Outcome, offset: Option<i64>) -> &mut Story {
        self.op(1, outcome, Kind::Send { key: key(), producer: PRODUCER, sequence, offset })
    }

    pub(super) fn sent(&mut self, sequence: u64, offset: i64) -> &mut Story {
        self.send(sequence, Outcome::Ok, Some(offset))
    }

    /// `reads` are offsets with the sequences found there; the timestamp is ten times the sequence.
    pub(super) fn poll(&mut self, proc: u32, reads: &[(i64, u64)]) -> &mut Story {
        let reads = reads.iter().map(|(offset, sequence)| Read {
            offset: Offset(*offset),
            timestamp_ms: sequence.cast_signed() * 10,
            value: Value { producer: PRODUCER, sequence: *sequence },
        });
        self.polled(proc, reads.collect(), None)
    }

    pub(super) fn polled(&mut self, proc: u32, reads: Vec<Read>, end: Option<i64>) -> &mut Story {
        let ends = end.map(|high_watermark| (key(), End { high_watermark })).into_iter().collect();
        let reads = BTreeMap::from([(key(), reads)]);
        self.op(proc, Outcome::Ok, Kind::Poll { mode: PollMode::Leader, reads, bad: BTreeMap::new(), ends })
    }

    pub(super) fn assign(&mut self, proc: u32, from: i64) -> &mut Story {
        self.op(proc, Outcome::Ok, Kind::Assign { key: key(), from: Some(from) })
    }

    pub(super) fn list(&mut self, spec: ListSpec, offset: Option<i64>) -> &mut Story {
        self.op(5, Outcome::Ok, Kind::ListOffsets { key: key(), spec, offset, timestamp_ms: None })
    }

    pub(super) fn delete(&mut self, before: i64, outcome: Outcome) -> &mut Story {
        self.op(6, outcome, Kind::DeleteRecords { key: key(), before })
    }

    pub(super) fn fault(&mut self, installed: Fault, minority: bool) -> &mut Story {
        let (class, detail) = ("pause".to_owned(), "n1".to_owned());
        self.op(u32::MAX, Outcome::Ok, Kind::Nemesis { class, detail, installed, minority })
    }

    pub(super) fn phase(&mut self, phase: Phase) -> &mut Story {
        self.op(u32::MAX, Outcome::Ok, Kind::Phase { phase })
    }

    /// Lets time pass.
    pub(super) fn wait(&mut self, micros: u64) -> &mut Story {
        self.now += micros;
        self
    }
}

pub(super) fn key() -> Key {
    Key::new("t", 0)
}

/// Offsets `0..end`, each with the sequence of the same number.
pub(super) fn log(end: u64) -> Vec<(i64, u64)> {
    (0..end).map(|i| (i.cast_signed(), i)).collect()
}
