//! Segments that are written over old ones, where the old bytes are the worst there can be: whole batches, with right
//! checksums, at the very positions and with the very offsets that come next.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

mod world;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use bytes::Bytes;
use highwater_env::Disk;
use highwater_env::sim::{CallKind, Fault, FaultKind, SimRandom};
use highwater_log::LogConfig;
use highwater_proto::record::{BatchBuilder, Compression};
use highwater_proto::{LeaderEpoch, Offset};
use proptest::prelude::*;
use world::{Op, PATH, World, partition_path, small_config, stories};

/// All batches have the same size, so that a stale one fits the place of the next one exactly.
const VALUE_BYTES: u16 = 300;

fn batch(fill: u8) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    builder.try_append(1_000_000, Some(b"k"), Some(&[fill; VALUE_BYTES as usize]), &[]).unwrap();
    builder.finish(None)
}

fn stamped(batch: &Bytes, offset: Offset, epoch: LeaderEpoch) -> Vec<u8> {
    let mut stored = batch.to_vec();
    stored[..8].copy_from_slice(&offset.0.to_be_bytes());
    stored[12..16].copy_from_slice(&epoch.0.to_be_bytes());
    stored
}

fn config() -> LogConfig {
    LogConfig { retention_bytes_max: Some(5000), ..small_config() }
}

/// Fills the pool's files with batches that would follow the log's end.
fn poison_pool(world: &World) {
    let pool = Path::new(PATH).join("pool");
    for entry in world.disk.list(&pool).unwrap() {
        let file = world.disk.open(&pool.join(entry.name)).unwrap();
        let bytes = file.len().unwrap();
        let (mut at, mut offset) = (0, world.end());
        while at < bytes {
            let stale = stamped(&batch(0xee), offset, LeaderEpoch(world.epoch));
            let count = stale.len().min((bytes - at) as usize);
            file.write_at(at, &[IoSlice::new(&stale[..count])]).unwrap();
            at += count as u64;
            offset = offset.advance(1);
        }
        // The old bytes are on the device: a power cut does not take them away.
        file.sync_data().unwrap();
    }
}

/// What happens around the appends.
#[derive(Clone, Debug)]
enum Step {
    Append,
    /// A value that is itself a batch of the next offset.
    AppendBatchInValue,
    Other(Op),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => Just(Step::Append),
        1 => Just(Step::AppendBatchInValue),
        4 => Just(Step::Other(Op::Flush)),
        3 => Just(Step::Other(Op::OverlappedFlush { value_bytes: VALUE_BYTES })),
        1 => Just(Step::Other(Op::Checkpoint)),
        2 => Just(Step::Other(Op::Retain { bytes: 5000 })),
        1 => (0_u16..=1000).prop_map(|permille| Step::Other(Op::Read { permille, max_bytes: 2000 })),
    ]
}

fn rough_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => step(),
        1 => (800_u16..=1000).prop_map(|permille| Step::Other(Op::Truncate { permille })),
        1 => Just(Step::Other(Op::NewEpoch)),
        1 => Just(Step::Other(Op::PowerCut)),
        1 => Just(Step::Other(Op::Kill)),
        1 => Just(Step::Other(Op::Reopen)),
    ]
}

fn failing_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        16 => rough_step(),
        1 => (any::<u8>(), any::<u8>(), any::<u8>())
            .prop_map(|(call, nth, kind)| Step::Other(Op::Fail { call, nth, kind })),
    ]
}

fn story<S: Strategy<Value = Step>>(step: S) -> impl Strategy<Value = (u64, Vec<Step>)> {
    (any::<u64>(), proptest::collection::vec(step, 30..90))
}

fn apply(world: &mut World, step: &Step) {
    if !world.stopped {
        poison_pool_quietly(world);
    }
    let whole = match step {
        Step::Append => batch(7),
        Step::AppendBatchInValue => {
            let inner = stamped(&batch(0xdd), world.end().advance(1), LeaderEpoch(world.epoch));
            let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
            builder.try_append(1_000_000, None, Some(&inner), &[]).unwrap();
            builder.finish(None)
        }
        Step::Other(op) => return world.apply(op),
    };
    if !matches!(world.log().health(), highwater_log::Health::Good) {
        world.stopped = true;
        return;
    }
    // The disk may have been told to refuse.
    let _ = world.append_batch(&whole);
    world.check_invariants();
}

/// Its own calls must not use up the failures that were asked for.
fn poison_pool_quietly(world: &World) {
    if world.disk.faults_pending() == 0 {
        poison_pool(world);
    }
}

fn play(seed: u64, steps: &[Step]) -> World {
    let mut world = World::new(seed, config());
    // Three segments' worth first, so that the pool has something to give.
    for _ in 0..4 {
        for _ in 0..11 {
            world.append_batch(&batch(1)).unwrap();
        }
        world.apply(&Op::Flush);
        world.apply(&Op::Checkpoint);
        world.apply(&Op::Retain { bytes: 5000 });
    }
    for step in steps {
        apply(&mut world, step);
    }
    world
}

fn recycled(world: &World) -> u64 {
    world.dir.as_ref().unwrap().counters().segments_recycled.load(Ordering::Relaxed)
}

proptest! {
    #![proptest_config(stories())]

    #[test]
    fn stale_batches_that_fit_exactly_are_not_shown_after_a_power_cut((seed, steps) in story(step())) {
        let mut world = play(seed, &steps);
        world.power_cut();
    }

    #[test]
    fn a_killed_process_loses_nothing_that_was_written_over_old_bytes((seed, steps) in story(step())) {
        let mut world = play(seed, &steps);
        world.kill();
        world.check_contents();
    }

    #[test]
    fn any_number_of_crashes_over_old_bytes_keeps_what_was_flushed((seed, steps) in story(rough_step())) {
        let mut world = play(seed, &steps);
        world.power_cut();
        let end = world.end();
        world.drop_log();
        world.open();
        world.check_recovered(end);
    }

    #[test]
    fn a_failing_disk_under_old_bytes_loses_nothing_that_was_acknowledged((seed, steps) in story(failing_step())) {
        let mut world = play(seed, &steps);
        world.power_cut();
    }

    #[test]
    fn without_index_and_after_a_kill_old_bytes_stay_hidden((seed, steps) in story(step())) {
        let mut world = play(seed, &steps);
        world.kill();
        world.drop_log();
        for entry in world.disk.list(&partition_path()).unwrap() {
            if entry.name.ends_with(".index") || entry.name.ends_with(".snapshot") {
                world.disk.remove_file(&partition_path().join(&entry.name)).unwrap();
            }
        }
        world.open();
        let end = world.end();
        world.check_recovered(end);
    }

    #[test]
    fn a_closed_log_in_old_files_is_as_it_should_be((seed, steps) in story(step())) {
        let mut world = play(seed, &steps);
        let end = world.end();
        world.reopen();
        let seen = highwater_log::inspect::inspect(&*world.disk, &partition_path()).unwrap();
        prop_assert_eq!(seen.findings, vec![]);
        prop_assert_eq!(seen.segments.last().map(|segment| segment.end), Some(end));
        world.power_cut();
        prop_assert_eq!(world.end(), end);
    }
}

/// The newest segment's file if it is written over an old one.
fn newest_recycled(world: &World) -> Option<PathBuf> {
    let mut names: Vec<String> =
        world.disk.list(&partition_path()).unwrap().into_iter().map(|entry| entry.name).collect();
    names.retain(|name| name.ends_with(".log"));
    let newest = names.pop()?;
    (newest.len() == 41).then(|| partition_path().join(newest))
}

fn in_recycled(seed: u64) -> World {
    let mut world = play(seed, &[]);
    while newest_recycled(&world).is_none() {
        apply(&mut world, &Step::Append);
    }
    assert!(recycled(&world) > 0);
    world
}

const SLOTS: u64 = 3;

fn attesting_page(world: &World, path: &Path) -> Vec<u8> {
    let file = world.disk.open(path).unwrap();
    let mut page = vec![0; 4096];
    file.read_exact_at(file.len().unwrap() - 4096, &mut page).unwrap();
    page
}

fn spoil_slot(world: &World, path: &Path, slot: u64) {
    let bytes = world.disk.open(path).unwrap().len().unwrap();
    if bytes >= 4096 {
        world.disk.rot(path, bytes - 4096 + slot * 512 + 20, 4).unwrap();
    }
}

/// A sector that is torn when the power goes is unreadable as a whole: that may be every slot that was written since the
/// last finished flush, all at once.
#[test]
fn torn_slots_cost_nothing_that_a_finished_flush_made_durable() {
    let mut torn = 0;
    for seed in 0..300 {
        let mut world = in_recycled(seed);
        for _ in 0..seed % 3 {
            apply(&mut world, &Step::Append);
            world.apply(&Op::Flush);
        }
        apply(&mut world, &Step::Append);
        world.apply(&Op::Flush);
        let path = newest_recycled(&world);
        let Some(path) = path else { continue };
        let before = attesting_page(&world, &path);
        for _ in 0..1 + seed % 2 {
            apply(&mut world, &Step::Append);
        }
        world.disk.inject(Fault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io });
        assert!(world.log().flush().is_err());
        let now = attesting_page(&world, &path);
        world.drop_log();
        world.disk.crash();
        for slot in 0..SLOTS {
            let at = slot as usize * 512;
            if before[at..at + 512] != now[at..at + 512] {
                spoil_slot(&world, &path, slot);
                torn += 1;
            }
        }
        let flushed = world.flushed;
        world.open();
        world.check_recovered(flushed);
    }
    assert!(torn > 200, "only {torn} slots were torn");
}

/// Every power cut at every moment between two appends and flushes, many times each.
#[test]
fn every_moment_in_an_old_file_survives_a_power_cut() {
    let mut world = in_recycled(3);
    let random = SimRandom::new(5);
    for round in 0..60 {
        let overlapped = Step::Other(Op::OverlappedFlush { value_bytes: VALUE_BYTES });
        let step = match round % 7 {
            3 => Step::Other(Op::Flush),
            5 => overlapped,
            6 => Step::Other(Op::Retain { bytes: 5000 }),
            _ => Step::Append,
        };
        apply(&mut world, &step);
        for image in 0..20 {
            let mut after = World::new(0, config());
            after.drop_log();
            after.disk = world.disk.crash_image(highwater_env::Random::next_u64(&random));
            // Any one of the slots may be unreadable on top.
            if let Some(path) = newest_recycled(&after).filter(|_| image % 4 < 3) {
                spoil_slot(&after, &path, image % 4);
            }
            after.batches.clone_from(&world.batches);
            (after.log_start, after.maybe_start) = (Offset::ZERO, world.maybe_start.max(world.log_start));
            after.flushed = world.flushed;
            after.open();
            after.check_recovered(world.flushed);
        }
    }
}

/// A power cut during a flush, when the device has taken any part of it: the call that fails stands for the moment.
#[test]
fn a_flush_that_is_cut_short_leaves_what_the_one_before_made_durable() {
    for seed in 0..400 {
        let mut world = in_recycled(seed);
        apply(&mut world, &Step::Append);
        world.apply(&Op::Flush);
        for _ in 0..(seed % 4) {
            apply(&mut world, &Step::Append);
        }
        let call = if seed % 2 == 0 { CallKind::SyncData } else { CallKind::Write };
        world.disk.inject(Fault { call: Some(call), nth: 1 + seed % 3, kind: FaultKind::Io });
        let _ = world.log().flush();
        world.power_cut();
    }
}

#[test]
fn a_rotten_slot_costs_nothing_that_was_flushed() {
    for slot in 0..3 {
        let mut world = in_recycled(slot);
        for _ in 0..3 {
            apply(&mut world, &Step::Append);
            world.apply(&Op::Flush);
        }
        let path = newest_recycled(&world).unwrap();
        let bytes = world.disk.open(&path).unwrap().len().unwrap();
        world.disk.rot(&path, bytes - 4096 + slot * 512 + 20, 4).unwrap();
        world.kill();
        world.power_cut();
    }
}

/// A value holds what a slot looks like, in a file that was never written over another one: its name says so.
#[test]
fn a_plain_file_that_ends_like_an_attesting_page_is_read_to_its_end() {
    let world = in_recycled(1);
    let path = newest_recycled(&world).unwrap();
    let file = world.disk.open(&path).unwrap();
    let mut page = vec![0; 4096];
    file.read_exact_at(file.len().unwrap() - 4096, &mut page).unwrap();
    let mut plain = World::new(9, LogConfig { segment_bytes_max: 1 << 16, ..config() });
    let mut builder = BatchBuilder::new(Compression::None, 1 << 20);
    builder.try_append(1_000_000, None, Some(&page), &[]).unwrap();
    plain.append_batch(&builder.finish(None)).unwrap();
    plain.apply(&Op::Flush);
    plain.reopen();
    plain.power_cut();
    assert_eq!(plain.end(), Offset(1));
}

#[test]
fn a_batch_larger_than_a_segment_does_not_reach_the_attesting_page() {
    let mut world = in_recycled(2);
    world.apply(&Op::Roll);
    for value_bytes in [9000, 100, 20_000] {
        world.apply(&Op::Append { value_bytes, records: 1, producer: None, time: 0, codec: 0 });
        apply(&mut world, &Step::Append);
        world.apply(&Op::Flush);
    }
    world.kill();
    world.power_cut();
}
