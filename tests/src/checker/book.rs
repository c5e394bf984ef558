//! A history taken apart by partition, compactly: what the checks walk over.

use std::collections::BTreeMap;

use crate::history::{End, Fault, Key, Kind, ListSpec, Op, Outcome, Phase, PollMode, Read, Value};

/// A send.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendRow {
    pub(super) value: Value,
    pub(super) offset: Option<i64>,
    pub(super) outcome: Outcome,
    pub(super) invoke: u64,
    pub(super) complete: Option<u64>,
    pub(super) idx: u64,
}

/// A poll; the records it returned name it.
#[derive(Clone, Copy, Debug)]
pub(super) struct PollRow {
    pub(super) idx: u64,
    pub(super) proc: u32,
    pub(super) invoke: u64,
    pub(super) mode: PollMode,
}

/// What happened to a consumer in a partition, in its order.
#[derive(Clone, Copy, Debug)]
pub(super) enum Event {
    /// It was given a record.
    Read { read: Read, poll: u32 },
    /// It went elsewhere.
    Assign { proc: u32, from: Option<i64> },
}

/// An answer that names a latest offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndRow {
    pub(super) end: i64,
    pub(super) invoke: u64,
    pub(super) complete: u64,
    pub(super) idx: u64,
    pub(super) source: EndSource,
}

/// Where a latest offset came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndSource {
    /// It was asked for.
    Listed,
    /// It came with records of a leader.
    Polled,
}

/// A lookup by time or for the log's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookupRow {
    pub(super) spec: ListSpec,
    pub(super) offset: Option<i64>,
    pub(super) timestamp_ms: Option<i64>,
    pub(super) invoke: u64,
    pub(super) complete: u64,
    pub(super) idx: u64,
}

/// A deletion.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeleteRow {
    pub(super) before: i64,
    pub(super) outcome: Outcome,
    pub(super) complete: Option<u64>,
}

/// A fault, or its end.
#[derive(Clone, Debug)]
pub(super) struct NemesisRow {
    pub(super) class: String,
    pub(super) detail: String,
    pub(super) installed: Fault,
    pub(super) minority: bool,
    pub(super) at: u64,
}

/// All that happened to one partition.
#[derive(Clone, Debug)]
pub(super) struct KeyBook {
    pub(super) key: Key,
    pub(super) sends: Vec<SendRow>,
    pub(super) events: Vec<Event>,
    pub(super) ends: Vec<EndRow>,
    pub(super) lookups: Vec<LookupRow>,
    pub(super) deletes: Vec<DeleteRow>,
    pub(super) bad: Vec<(u64, i64, String)>,
    /// Every offset of which a value is known, sorted, each once: its place is its dense index.
    pub(super) dense: Vec<i64>,
    /// Every value with an offset it had, sorted by value, then offset, each pair once.
    pub(super) placed: Vec<(Value, i64)>,
}

/// A history by partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    by_key: BTreeMap<Key, usize>,
    pub(super) keys: Vec<KeyBook>,
    pub(super) polls: Vec<PollRow>,
    pub(super) nemesis: Vec<NemesisRow>,
    pub(super) phases: Vec<(u64, Phase)>,
}

impl Book {
    /// Enters one operation.
    pub(super) fn enter(&mut self, op: Op) {
        let Op { idx, t_invoke: invoke, t_complete: complete, proc, outcome, kind, .. } = op;
        match kind {
            Kind::Send { key, producer, sequence, offset } => {
                let value = Value { producer, sequence };
                let row = SendRow { value, offset, outcome, invoke, complete, idx };
                self.key(&key).sends.push(row);
            }
            Kind::Poll { mode, reads, bad, ends } => {
                self.polls.push(PollRow { idx, proc, invoke, mode });
                self.enter_poll(reads, bad, ends, complete.unwrap_or(u64::MAX));
            }
            Kind::Assign { key, from } => self.key(&key).events.push(Event::Assign { proc, from }),
            Kind::ListOffsets { key, spec, offset, timestamp_ms } => {
                if let (Outcome::Ok, Some(complete)) = (outcome, complete) {
                    let book = self.key(&key);
                    match (spec, offset) {
                        (ListSpec::Latest, Some(end)) => {
                            book.ends.push(EndRow { end, invoke, complete, idx, source: EndSource::Listed })
                        }
                        _ => {
                            book.lookups.push(LookupRow { spec, offset, timestamp_ms, invoke, complete, idx })
                        }
                    }
                }
            }
            Kind::DeleteRecords { key, before } => {
                self.key(&key).deletes.push(DeleteRow { before, outcome, complete });
            }
            Kind::Nemesis { class, detail, installed, minority } => {
                self.nemesis.push(NemesisRow { class, detail, installed, minority, at: invoke });
            }
            Kind::Phase { phase } => self.phases.push((invoke, phase)),
        }
    }

    fn enter_poll(
        &mut self,
        reads: BTreeMap<Key, Vec<Read>>,
        bad: BTreeMap<Key, Vec<crate::history::BadRead>>,
        ends: BTreeMap<Key, End>,
        complete: u64,
    ) {
        let poll = u32::try_from(self.polls.len() - 1).expect("fewer polls than fit");
        let PollRow { idx, mode, invoke, .. } = self.polls[poll as usize];
        for (key, reads) in reads {
            let events = reads.into_iter().map(|read| Event::Read { read, poll });
            self.key(&key).events.extend(events);
        }
        for (key, bad) in bad {
            let rows = bad.into_iter().map(|bad| (idx, bad.offset, bad.problem));
            self.key(&key).bad.extend(rows);
        }
        if mode == PollMode::Leader {
            for (key, end) in ends {
                let source = EndSource::Polled;
                let end = end.high_watermark;
                self.key(&key).ends.push(EndRow { end, invoke, complete, idx, source });
            }
        }
    }

    /// To be called once, after the last operation: fills what is derived.
    pub(super) fn close(&mut self) {
        for book in &mut self.keys {
            let acknowledged = book
                .sends
                .iter()
                .filter(|send| send.outcome == Outcome::Ok)
                .filter_map(|send| Some((send.value, send.offset?)));
            let read = book.events.iter().filter_map(|event| match event {
                Event::Read { read, .. } => Some((read.value, read.offset.0)),
                Event::Assign { .. } => None,
            });
            book.placed = acknowledged.chain(read).collect();
            book.placed.sort_unstable();
            book.placed.dedup();
            book.dense = book.placed.iter().map(|(_, offset)| *offset).collect();
            book.dense.sort_unstable();
            book.dense.dedup();
        }
    }

    /// When this phase began.
    pub(super) fn phase(&self, phase: Phase) -> Option<u64> {
        self.phases.iter().find(|(_, found)| *found == phase).map(|(at, _)| *at)
    }

    /// The partition's book, begun if it is the first one hears of it.
    pub(super) fn key(&mut self, key: &Key) -> &mut KeyBook {
        let at = match self.by_key.get(key) {
            Some(at) => *at,
            None => {
                self.by_key.insert(key.clone(), self.keys.len());
                self.keys.push(KeyBook::new(key.clone()));
                self.keys.len() - 1
            }
        };
        &mut self.keys[at]
    }
}

impl KeyBook {
    fn new(key: Key) -> KeyBook {
        KeyBook {
            key,
            sends: Vec::new(),
            events: Vec::new(),
            ends: Vec::new(),
            lookups: Vec::new(),
            deletes: Vec::new(),
            bad: Vec::new(),
            dense: Vec::new(),
            placed: Vec::new(),
        }
    }

    /// The dense index of a known offset, or of the next known one.
    pub(super) fn index(&self, offset: i64) -> usize {
        self.dense.partition_point(|known| *known < offset)
    }

    /// Every record read, with its poll.
    pub(super) fn reads(&self) -> impl Iterator<Item = (&Read, u32)> {
        self.events.iter().filter_map(|event| match event {
            Event::Read { read, poll } => Some((read, *poll)),
            Event::Assign { .. } => None,
        })
    }

    /// The offsets at which this value was.
    pub(super) fn offsets_of(&self, value: Value) -> impl Iterator<Item = i64> {
        let from = self.placed.partition_point(|(known, _)| *known < value);
        self.placed[from..].iter().take_while(move |(known, _)| *known == value).map(|(_, offset)| *offset)
    }

    /// Below this offset records may have been deleted on request.
    pub(super) fn deletable_end(&self) -> i64 {
        let tried = self.deletes.iter().filter(|delete| delete.outcome != Outcome::Fail);
        tried.map(|delete| delete.before).max().unwrap_or(0)
    }
}
