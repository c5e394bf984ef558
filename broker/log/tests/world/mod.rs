//! A log on a simulated disk beside a model of what it must contain. Each step is applied to both and compared.

#![allow(dead_code, unreachable_pub, reason = "every test file uses its own part of this")]
#![allow(
    clippy::allow_attributes,
    reason = "whether all of it is used differs from one test file to the next"
)]

mod ops;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use highwater_env::sim::{CallKind, Fault, FaultKind, SimClock, SimDisk, SimRandom};
use highwater_log::{
    AppendError, Health, LogConfig, LogDir, LogDirConfig, Novelty, PartitionLog, ReadError, RecoveryReport,
};
use highwater_proto::record::{
    BatchBuilder, BatchHeader, Compression, DecodeLimits, batches, decode_records, verify_crc,
};
use highwater_proto::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId, TopicPartition};

pub use ops::*;

/// What the model knows of one batch.
#[derive(Clone, Debug)]
pub struct ModelBatch {
    pub header: BatchHeader,
    pub bytes: Bytes,
}

impl ModelBatch {
    pub fn next(&self) -> Offset {
        self.header.next_offset()
    }
}

pub struct World {
    pub disk: Arc<SimDisk>,
    pub clock: Arc<SimClock>,
    pub config: LogConfig,
    pub dir: Option<LogDir>,
    pub log: Option<PartitionLog>,
    /// Everything appended and not truncated, from offset 0.
    pub batches: Vec<ModelBatch>,
    pub log_start: Offset,
    /// A start that was asked for and may have got there.
    pub maybe_start: Offset,
    pub flushed: Offset,
    pub epoch: i32,
    pub held: Vec<(Bytes, Vec<u8>)>,
    /// Refused with an I/O error, and may be there all the same: the producer was told that it may try again.
    pub ghosts: Vec<ModelBatch>,
    /// Whether a power cut may have happened with a truncation half done.
    pub stopped: bool,
    pub reports: Vec<RecoveryReport>,
}

pub const PATH: &str = "/data";

pub fn small_config() -> LogConfig {
    LogConfig {
        segment_bytes_max: 4096,
        index_interval_bytes: 300,
        retention_age_max_ms: None,
        ..LogConfig::default()
    }
}

pub fn partition() -> TopicPartition {
    TopicPartition::new(TopicId([9; 16]), PartitionIndex(3))
}

pub fn partition_path() -> std::path::PathBuf {
    Path::new(PATH).join("partitions").join(partition().directory_name())
}

impl World {
    pub fn new(seed: u64, config: LogConfig) -> World {
        let mut world = World {
            disk: SimDisk::with_file_bytes_max(seed, 1 << 20),
            clock: Arc::new(SimClock::new(1_000_000)),
            config,
            dir: None,
            log: None,
            batches: Vec::new(),
            log_start: Offset::ZERO,
            maybe_start: Offset::ZERO,
            flushed: Offset::ZERO,
            epoch: 1,
            held: Vec::new(),
            ghosts: Vec::new(),
            stopped: false,
            reports: Vec::new(),
        };
        world.open();
        world
    }

    pub fn log(&mut self) -> &mut PartitionLog {
        self.log.as_mut().expect("open")
    }

    pub fn end(&self) -> Offset {
        self.batches.last().map_or(self.log_start, ModelBatch::next).max(self.log_start)
    }

    /// Opens directory and partition and returns what recovery said.
    pub fn open_raw(&self) -> (LogDir, PartitionLog, RecoveryReport) {
        // So few that they are thrown out all the time.
        let config =
            LogDirConfig { maps_max: 2, index_cache_bytes_max: 256, ..LogDirConfig::new("sim", BrokerId(1)) };
        let random = SimRandom::new(1);
        let disk: Arc<SimDisk> = Arc::clone(&self.disk);
        let clock: Arc<SimClock> = Arc::clone(&self.clock);
        let dir = LogDir::open(disk, clock, &random, Path::new(PATH), config).expect("the directory opens");
        let (log, report) = dir.partition(partition(), self.config.clone()).expect("the partition opens");
        (dir, log, report)
    }

    pub fn open(&mut self) {
        let (dir, log, report) = self.open_raw();
        self.dir = Some(dir);
        self.log = Some(log);
        self.reports.push(report);
        self.stopped = false;
    }

    pub fn drop_log(&mut self) {
        self.log = None;
        self.dir = None;
        // Readers die with the process.
        self.held.clear();
    }

    /// After a crash: what is there must be a prefix of the model that holds everything flushed.
    pub fn check_recovered(&mut self, least: Offset) {
        let report = self.reports.last().expect("opened").clone();
        assert!(!report.is_unclean(), "{report:?}");
        let end = self.log().log_end();
        assert_eq!(report.log_end, end);
        assert!(end >= least, "flushed to {least}, recovered to {end}: {report:?}");
        self.accept_ghost(least);
        assert!(end <= self.end(), "recovered to {end}, appended to {}", self.end());
        let boundary = end <= self.log_start || self.batches.iter().any(|batch| batch.next() == end);
        assert!(boundary, "{end} is in the middle of a batch");
        let start = self.log().log_start();
        let (least, most) = (self.log_start, self.maybe_start);
        assert!(start >= least && start <= most, "the start is {start}, not from {least} to {most}");
        self.log_start = start;
        self.maybe_start = start;
        self.batches.retain(|batch| batch.next() <= end);
        self.flushed = end;
        assert_eq!(self.log().flushed_end().get(), end, "what recovery shows is durable");
        self.check_epochs();
        self.check_contents();
    }

    /// Each epoch begins where its first batch does (invariant I6).
    fn check_epochs(&mut self) {
        let mut expected: Vec<(LeaderEpoch, Offset)> = Vec::new();
        for batch in &self.batches {
            if expected.last().is_none_or(|(epoch, _)| *epoch < batch.header.leader_epoch) {
                expected.push((batch.header.leader_epoch, batch.header.base_offset));
            }
        }
        // The one in force at the start may have begun below it.
        let (start, end) = (self.log_start, self.end());
        expected.retain(|(_, first)| *first > start);
        let mut known = self.log().epochs().entries().to_vec();
        known.retain(|(_, first)| *first > start && *first < end);
        assert_eq!(known, expected);
    }

    /// A batch that was refused with an I/O error may stand at the end, in the place of later unflushed ones.
    fn accept_ghost(&mut self, flushed: Offset) {
        let stored = self.read_all();
        let last = batches(Bytes::from(stored)).filter_map(Result::ok).last();
        let ghosts = std::mem::take(&mut self.ghosts);
        let is_last =
            |ghost: &ModelBatch| Some(&ghost.bytes) == last.as_ref() && ghost.header.base_offset >= flushed;
        if self.batches.iter().any(|batch| Some(&batch.bytes) == last.as_ref()) {
            return;
        }
        if let Some(ghost) = ghosts.into_iter().find(is_last) {
            self.batches.retain(|batch| batch.next() <= ghost.header.base_offset);
            self.batches.push(ghost);
        }
    }

    pub fn check_contents(&mut self) {
        let start = self.log_start;
        let end = self.end();
        assert_eq!((self.log().log_start(), self.log().log_end()), (start, end));
        let mut expected = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.next() > start) {
            expected.extend_from_slice(&batch.bytes);
        }
        let bytes = self.read_all();
        assert_eq!(bytes.len(), expected.len());
        assert!(bytes == expected, "the bytes differ");
    }

    pub fn read_all(&mut self) -> Vec<u8> {
        let (mut next, end) = (self.log().log_start(), self.log().log_end());
        let mut bytes = Vec::new();
        while next < end {
            let slice = self.log().plan_read(next, end, 700).expect("in range").read().expect("readable");
            assert!(slice.next > next, "no progress at {next} of {end}");
            next = slice.next;
            bytes.extend_from_slice(&slice.bytes);
        }
        bytes
    }

    pub fn check_read(&mut self, from: Offset, bound: Offset, max_bytes: usize) {
        let slice = match self.log().plan_read(from, bound, max_bytes) {
            Ok(plan) => match plan.read() {
                Ok(slice) => slice,
                // The disk refused, as it was told to.
                Err(ReadError::Io(_)) => return,
                Err(error) => panic!("{error}"),
            },
            Err(ReadError::OutOfRange { .. }) => {
                assert!(from < self.log_start || from > self.end());
                return;
            }
            Err(error) => panic!("{error}"),
        };
        let bound = bound.min(self.end());
        let mut expected = self
            .batches
            .iter()
            .filter(|batch| batch.next() > from && batch.next() > self.log_start && batch.next() <= bound);
        let mut size = 0;
        let mut next = from;
        for batch in batches(slice.bytes.clone()) {
            let batch = batch.expect("whole batches");
            let model = expected.next().expect("no more than there is");
            assert!(batch == model.bytes, "stored bytes differ at {}", model.header.base_offset);
            verify_crc(&batch).expect("a right checksum");
            size += batch.len();
            next = model.next();
        }
        assert_eq!(size, slice.bytes.len(), "nothing is cut");
        assert_eq!(slice.next, next);
        let more = expected.next();
        assert!(size > 0 || more.is_none(), "there was something to read at {from} below {bound}");
        let first = batches(slice.bytes.clone()).next().map_or(0, |batch| batch.expect("whole").len());
        assert!(size <= max_bytes.max(first), "{size} bytes where {max_bytes} were asked for");
    }

    fn next_sequence(&self, producer: u8) -> i32 {
        let last = self.batches.iter().rev().find(|batch| batch.header.producer_id.0 == i64::from(producer));
        // Near the wrap from the start, so that it is crossed all the time.
        last.map_or(i32::MAX - 3, |batch| {
            let last = batch.header.last_sequence();
            if last == i32::MAX { 0 } else { last + 1 }
        })
    }

    pub fn build(&self, value_bytes: u16, records: u8, producer: Option<u8>, time: i16, codec: u8) -> Bytes {
        let codec = Compression::ALL[usize::from(codec) % Compression::ALL.len()];
        let mut builder = BatchBuilder::new(codec, 1 << 20);
        for record in 0..records.max(1) {
            let value = vec![record ^ self.batches.len() as u8; usize::from(value_bytes)];
            let key = [record % 3];
            let time = 1_000_000 + i64::from(time) + i64::from(record % 2) * 7;
            builder.try_append(time, Some(&key), Some(&value), &[]).expect("fits");
        }
        builder.finish(producer.map(|id| (ProducerId(i64::from(id)), 0, self.next_sequence(id))))
    }

    pub fn append_batch(&mut self, batch: &Bytes) -> Result<Novelty, AppendError> {
        let header = BatchHeader::parse(batch).expect("built");
        let (epoch, now, end) = (LeaderEpoch(self.epoch), 1_000_000, self.end());
        let mut stored = batch.to_vec();
        stored[..8].copy_from_slice(&end.0.to_be_bytes());
        stored[12..16].copy_from_slice(&epoch.0.to_be_bytes());
        let model =
            ModelBatch { header: BatchHeader::parse(&stored).expect("stamped"), bytes: stored.into() };
        let appended = match self.log().append(batch, &header, epoch, now) {
            Ok(appended) => appended,
            Err(error) => {
                self.ghosts.push(model);
                return Err(error);
            }
        };
        if appended.novelty == Novelty::New {
            assert_eq!(appended.base_offset, end, "offsets are dense");
            assert_eq!(appended.end, model.next());
            self.batches.push(model);
        } else {
            let known = self.batches.iter().find(|model| {
                model.header.producer_id == header.producer_id
                    && model.header.base_sequence == header.base_sequence
            });
            assert_eq!(known.expect("appended before").header.base_offset, appended.base_offset);
        }
        Ok(appended.novelty)
    }

    pub fn offset_at(&self, permille: u16) -> Offset {
        let (start, end) = (self.log_start.0, self.end().0);
        Offset(start + (end - start) * i64::from(permille.min(1000)) / 1000)
    }

    pub fn power_cut(&mut self) {
        self.drop_log();
        self.disk.crash();
        self.open();
        let least = self.flushed;
        self.check_recovered(least);
    }

    pub fn kill(&mut self) {
        // A poisoned log shows more than it may keep.
        let least = if self.stopped { self.flushed } else { self.end() };
        self.disk.clear_faults();
        self.drop_log();
        self.disk.kill_process();
        self.open();
        self.check_recovered(least);
    }

    pub fn reopen(&mut self) {
        self.disk.clear_faults();
        self.held.clear();
        let mut log = self.log.take().expect("open");
        let closed = log.close();
        let dir = self.dir.take().expect("open");
        let least = match closed {
            Ok(end) => end.get(),
            Err(_) => self.flushed,
        };
        let clean = closed.is_ok() && !self.stopped;
        drop(dir);
        self.open();
        self.check_recovered(least);
        let report = self.reports.last().expect("opened");
        if clean {
            assert_eq!((report.scanned_bytes, report.torn_bytes), (0, 0), "a closed log is not read again");
        }
    }

    /// Applies a step to both, and compares.
    pub fn apply(&mut self, op: &Op) {
        if matches!(self.log().health(), Health::Poisoned { .. }) {
            self.stopped = true;
        }
        match op {
            Op::PowerCut => return self.power_cut(),
            Op::Kill => return self.kill(),
            Op::Reopen => return self.reopen(),
            _ if self.stopped => return self.check_stopped(),
            _ => {}
        }
        match *op {
            Op::Append { value_bytes, records, producer, time, codec } => {
                let batch = self.build(value_bytes, records, producer, time, codec);
                self.expect_io_only(|world| world.append_batch(&batch).map(|_| ()));
            }
            Op::Retry { producer, back } => self.retry(producer, back),
            Op::Flush => {
                let target = self.end();
                match self.log().flush() {
                    Ok(durable) => {
                        assert_eq!(durable.get(), target);
                        self.flushed = target;
                    }
                    Err(_) => self.stopped = true,
                }
            }
            Op::OverlappedFlush { value_bytes } => self.overlapped_flush(value_bytes),
            Op::Roll => self.expect_io_only(|world| world.log().roll(1_000_000)),
            Op::Checkpoint => {
                let _ = self.log().checkpoint();
            }
            Op::NewEpoch => {
                self.epoch += 1;
                let epoch = LeaderEpoch(self.epoch);
                self.log().assign_epoch(epoch);
            }
            Op::Truncate { permille } => self.truncate(permille),
            Op::DeleteRecords { permille } => self.delete_records(permille),
            Op::Retain { bytes } => {
                self.config.retention_bytes_max = Some(u64::from(bytes));
                let config = self.config.clone();
                let bound = self.flushed;
                self.log().update_config(config);
                let before = self.log().log_start();
                let result = self.log().retain(1_000_000, bound);
                self.after_start_moved(before, result.is_ok(), None, bound);
                assert!(self.log_start <= bound.max(before));
            }
            Op::Read { permille, max_bytes } => {
                let from = self.offset_at(permille);
                let bound = self.end();
                self.check_read(from, bound, usize::from(max_bytes));
                self.check_read(from, Offset((from.0 + bound.0) / 2), usize::from(max_bytes));
            }
            Op::Hold { permille } => {
                let (from, end) = (self.offset_at(permille), self.end());
                if let Ok(Ok(slice)) = self.log().plan_read(from, end, 2000).map(|plan| plan.read()) {
                    self.held.push((slice.bytes.clone(), slice.bytes.to_vec()));
                }
            }
            Op::Sweep => {
                let _ = self.dir.as_ref().expect("open").sweep(100);
            }
            Op::Fail { call, nth, kind } => self.fail(call, nth, kind),
            Op::PowerCut | Op::Kill | Op::Reopen => unreachable!("dealt with above"),
        }
        self.check_invariants();
    }

    fn check_stopped(&mut self) {
        if matches!(self.log().health(), Health::Good) {
            return;
        }
        let batch = self.build(10, 1, None, 0, 0);
        let header = BatchHeader::parse(&batch).expect("built");
        let epoch = LeaderEpoch(self.epoch);
        assert!(self.log().append(&batch, &header, epoch, 0).is_err(), "a stopped log takes nothing");
        assert!(self.log().flush().is_err(), "and acknowledges nothing");
    }

    fn expect_io_only(&mut self, run: impl FnOnce(&mut World) -> Result<(), AppendError>) {
        let before = self.end();
        match run(self) {
            Ok(()) => {}
            Err(AppendError::Io(_) | AppendError::DiskFull(_)) => {
                assert_eq!(self.log().log_end(), before, "a failed append changes nothing");
            }
            Err(error) => panic!("{error}"),
        }
    }

    fn retry(&mut self, producer: u8, back: u8) {
        let start = self.log_start;
        let mine: Vec<&ModelBatch> =
            self.batches.iter().filter(|batch| batch.header.producer_id.0 == i64::from(producer)).collect();
        let recent: Vec<ModelBatch> = mine
            .iter()
            .rev()
            .take(5)
            .filter(|batch| batch.header.base_offset >= start)
            .map(|b| (*b).clone())
            .collect();
        if recent.is_empty() {
            return;
        }
        let again = &recent[usize::from(back) % recent.len()];
        let novelty = self.append_batch(&again.bytes).expect("a retry is no error");
        assert_eq!(novelty, Novelty::Duplicate);
    }

    fn overlapped_flush(&mut self, value_bytes: u16) {
        let target = self.end();
        let Some(ticket) = self.log().begin_flush() else { return };
        assert_eq!(ticket.end(), target);
        assert!(self.log().begin_flush().is_none(), "one flush at a time");
        let batch = self.build(value_bytes, 1, None, 0, 0);
        self.expect_io_only(|world| world.append_batch(&batch).map(|_| ()));
        let synced = ticket.sync();
        match self.log().complete_flush(synced) {
            Ok(durable) => {
                assert_eq!(durable.get(), target, "later appends are not covered");
                self.flushed = target;
            }
            Err(_) => self.stopped = true,
        }
    }

    fn truncate(&mut self, permille: u16) {
        let offset = self.offset_at(permille);
        let target = self
            .batches
            .iter()
            .map(ModelBatch::next)
            .filter(|next| *next <= offset)
            .max()
            .unwrap_or(self.log_start);
        let target = target.max(self.log_start).min(self.end());
        match self.log().truncate_to(offset, 1_000_000) {
            Ok(end) => {
                let expected = if offset >= self.end() { self.end() } else { target };
                assert_eq!(end, expected);
                self.batches.retain(|batch| batch.next() <= end);
                self.flushed = self.flushed.min(end);
            }
            Err(_) => {
                self.flushed = self.flushed.min(target);
                self.stopped = true;
            }
        }
    }

    fn delete_records(&mut self, permille: u16) {
        let offset = self.offset_at(permille);
        let before = self.log_start;
        let result = self.log().delete_records(offset, offset);
        self.after_start_moved(before, result.is_ok(), Some(offset), offset);
    }

    fn after_start_moved(&mut self, before: Offset, ok: bool, asked: Option<Offset>, most: Offset) {
        if matches!(self.log().health(), Health::Poisoned { .. }) {
            self.stopped = true;
        }
        let start = self.log().log_start();
        assert!(start >= before, "a start never goes back");
        if let (true, Some(asked)) = (ok, asked) {
            assert_eq!(start, asked);
        }
        // It flushed what was below the new start.
        self.flushed = self.flushed.max(self.log().flushed_end().get());
        self.maybe_start = if ok { start } else { most.max(start).max(self.maybe_start) };
        self.log_start = start;
    }

    fn fail(&mut self, call: u8, nth: u8, kind: u8) {
        let calls = [
            CallKind::Create,
            CallKind::Open,
            CallKind::Rename,
            CallKind::RemoveFile,
            CallKind::CreateDir,
            CallKind::SyncDir,
            CallKind::Read,
            CallKind::Write,
            CallKind::Allocate,
            CallKind::Truncate,
            CallKind::SyncData,
            CallKind::Map,
        ];
        let kinds = [FaultKind::Io, FaultKind::Full, FaultKind::Short];
        self.disk.inject(Fault {
            call: Some(calls[usize::from(call) % calls.len()]),
            nth: u64::from(nth % 4) + 1,
            kind: kinds[usize::from(kind) % kinds.len()],
        });
    }

    pub fn check_invariants(&mut self) {
        let log = self.log.as_ref().expect("open");
        let (start, flushed, end) = (log.log_start(), log.flushed_end().get(), log.log_end());
        assert!(start <= end && flushed <= end, "{start} {flushed} {end}");
        let rising =
            log.epochs().entries().windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1);
        assert!(rising, "{:?}", log.epochs());
        for (bytes, copy) in &self.held {
            assert!(bytes == copy, "a slice that is still held has changed");
        }
    }

    /// The first record at or after this time, found the slow way.
    pub fn brute_force_time(&self, target_ms: i64, bound: Offset) -> Option<(Offset, i64)> {
        self.records().into_iter().find(|(offset, time)| *time >= target_ms && *offset < bound)
    }

    pub fn records(&self) -> Vec<(Offset, i64)> {
        let mut records = Vec::new();
        for batch in &self.batches {
            for record in decode_records(&batch.bytes, &DecodeLimits::default()).expect("a whole batch") {
                let record = record.expect("a whole record");
                if record.offset >= self.log_start {
                    records.push((record.offset, record.timestamp_ms));
                }
            }
        }
        records
    }

    /// Names and bytes of all files.
    pub fn files(&self) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
        self.disk.contents()
    }
}

/// Looks at everything that is flushed: what is damaged, and how far the look got.
pub fn scrub(log: &PartitionLog) -> (Vec<highwater_log::RottenRange>, Offset) {
    let (mut next, mut damage) = (log.log_start(), Vec::new());
    while let Some(plan) = log.plan_scrub(next) {
        let scrubbed = plan.run().expect("readable");
        assert!(scrubbed.next > next, "no progress at {next}");
        next = scrubbed.next;
        damage.extend(scrubbed.damage);
    }
    (damage, next)
}
