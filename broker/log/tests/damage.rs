//! Damage and failures one by one: what is rotten is reported and never served, what fails once costs nothing.

mod world;

use std::path::PathBuf;

use highwater_env::Disk;
use highwater_env::sim::{Fault, FaultKind, SimRandom};
use highwater_log::{AppendError, Health, ReadError};
use highwater_proto::Offset;
use highwater_proto::record::{batches, verify_crc};
use proptest::prelude::*;
use world::{Op, World, partition_path, plain_op, small_config, stories, story};

fn play(seed: u64, ops: &[Op]) -> World {
    let mut world = World::new(seed, small_config());
    for op in ops {
        world.apply(op);
    }
    world
}

/// Whether this byte is a batch's offset or epoch, which its checksum does not cover.
fn is_stamp(segment: &[u8], at: usize) -> bool {
    let mut start = 0;
    while let Ok(header) = highwater_proto::record::BatchHeader::parse(&segment[start..]) {
        if at < start + header.size_bytes() {
            return at < start + 16;
        }
        start += header.size_bytes();
    }
    false
}

fn files(world: &World, suffix: &str) -> Vec<PathBuf> {
    let Ok(entries) = world.disk.list(&partition_path()) else { return Vec::new() };
    let names = entries.into_iter().filter(|entry| entry.name.ends_with(suffix));
    names.map(|entry| partition_path().join(entry.name)).collect()
}

proptest! {
    #![proptest_config(stories())]

    #[test]
    fn rot_in_flushed_data_is_never_truncated_and_never_served_as_something_else(
        (seed, ops) in story(plain_op(), 30), place in any::<u64>(), bit in 0_u8..8, clean in any::<bool>()
    ) {
        let mut world = play(seed, &ops);
        let _ = world.log().flush().unwrap();
        let end = world.end();
        if clean {
            world.log().close().map(|_| ()).unwrap();
        }
        world.drop_log();
        let segments = files(&world, ".log");
        prop_assume!(!segments.is_empty());
        let contents = world.files();
        let path = &segments[place as usize % segments.len()];
        let bytes = contents[path].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        prop_assume!(bytes > 0);
        world.disk.rot(path, (place >> 8) % bytes as u64, 1 << bit).unwrap();
        world.open();
        prop_assert_eq!(world.log().log_end(), end, "nothing is truncated");
        // Whatever a read returns is either what was appended, or fails the reader's checksum, or is an error.
        let mut next = Offset::ZERO;
        while next < end {
            let slice = match world.log().plan_read(next, end, 500).map(highwater_log::ReadPlan::read) {
                Ok(Ok(slice)) => slice,
                Ok(Err(ReadError::Rotten { .. })) | Err(ReadError::Rotten { .. }) => {
                    next = next.advance(1);
                    continue;
                }
                other => panic!("{other:?}"),
            };
            for batch in batches(slice.bytes.clone()).map_while(Result::ok) {
                let known = world.batches.iter().any(|model| model.bytes == batch);
                let stamped = batch[..21] != world.batches[0].bytes[..21];
                prop_assert!(known || verify_crc(&batch).is_err() || stamped, "damage passes for data");
            }
            next = slice.next.max(next.advance(1));
        }
        let inspection = highwater_log::inspect::inspect(&*world.disk, &partition_path()).unwrap();
        if let Health::Rotten(range) = world.log().health().clone() {
            let at = ((place >> 8) % bytes as u64) as usize;
            prop_assert!(
                !inspection.findings.is_empty() || is_stamp(&contents[path], at),
                "a look at the files shows it too"
            );
            prop_assert_eq!(&range.path, path);
            prop_assert!(world.reports.last().unwrap().is_unclean(), "it says so");
            let batch = world.build(1, 1, None, 0, 0);
            let header = highwater_proto::record::BatchHeader::parse(&batch).unwrap();
            let refused = world.log().append(&batch, &header, highwater_proto::LeaderEpoch(99), 0);
            prop_assert!(matches!(refused, Err(AppendError::Rotten(_))));
            world.drop_log();
            world.open();
            prop_assert!(matches!(world.log().health(), Health::Rotten(_)), "it is found again");
        }
    }

    #[test]
    fn rot_in_any_cache_costs_no_record((seed, ops) in story(plain_op(), 30), place in any::<u64>(), bit in 0_u8..8) {
        let mut world = play(seed, &ops);
        world.reopen();
        let end = world.end();
        let producers = world.log().producers().clone();
        world.drop_log();
        let mut caches = files(&world, ".index");
        caches.extend(files(&world, ".snapshot"));
        caches.extend(files(&world, "leader-epochs"));
        caches.extend(files(&world, "partition.state"));
        prop_assume!(!caches.is_empty());
        let path = &caches[place as usize % caches.len()];
        let bytes = world.files()[path].len() as u64;
        prop_assume!(bytes > 0);
        world.disk.rot(path, (place >> 8) % bytes, 1 << bit).unwrap();
        world.open();
        prop_assert_eq!(world.log().log_end(), end);
        prop_assert_eq!(world.log().health(), &Health::Good);
        prop_assert_eq!(world.log().producers().len(), producers.len());
        world.check_contents();
    }

    #[test]
    fn arbitrary_bytes_in_any_file_are_no_panic(
        (seed, ops) in story(plain_op(), 15), place in any::<u64>(), garbage in proptest::collection::vec(any::<u8>(), 0..200)
    ) {
        let mut world = play(seed, &ops);
        world.kill();
        world.drop_log();
        let all = files(&world, "");
        prop_assume!(!all.is_empty());
        let path = &all[place as usize % all.len()];
        let file = world.disk.open(path).unwrap();
        let at = (place >> 8) % (file.len().unwrap() + 1);
        file.write_at(at, &[std::io::IoSlice::new(&garbage)]).unwrap();
        world.open();
        let (mut next, end) = (world.log().log_start(), world.log().log_end());
        while next < end {
            next = match world.log().plan_read(next, end, 500).map(highwater_log::ReadPlan::read) {
                Ok(Ok(slice)) => slice.next.max(next.advance(1)),
                _ => next.advance(1),
            };
        }
    }

    #[test]
    fn a_full_disk_refuses_and_goes_on_once_there_is_space((seed, ops) in story(plain_op(), 30), pages in 3_u64..30) {
        let mut world = World::new(seed, small_config());
        world.disk.set_capacity_bytes(pages * 4096);
        for op in &ops {
            if matches!(world.log().health(), Health::Good) {
                world.apply(op);
            }
        }
        let before = world.end();
        let batch = world.build(3000, 1, None, 0, 0);
        if let Err(error) = world.append_batch(&batch) {
            prop_assert!(matches!(error, AppendError::DiskFull(_)), "{}", error);
            prop_assert_eq!(world.log().log_end(), before);
            prop_assert!(world.disk.used_bytes() <= pages * 4096);
            world.check_contents();
            world.disk.set_capacity_bytes(u64::MAX);
            world.append_batch(&batch).unwrap();
        }
        world.disk.set_capacity_bytes(u64::MAX);
        world.ghosts.clear();
        if matches!(world.log().health(), Health::Good) {
            let end = world.end();
            prop_assert_eq!(world.log().flush().unwrap().get(), end);
            world.flushed = end;
        }
        world.power_cut();
    }
}

/// A life with everything in it, that goes on after refusals.
fn script(world: &mut World) {
    let append = |bytes, producer| Op::Append { value_bytes: bytes, records: 2, producer, time: 0, codec: 0 };
    for round in 0..3 {
        for op in [
            append(900, Some(1)),
            Op::Flush,
            append(900, None),
            append(500, Some(1)),
            Op::NewEpoch,
            append(900, None),
            Op::OverlappedFlush { value_bytes: 300 },
            Op::Checkpoint,
            append(700, Some(2)),
            Op::Flush,
            Op::Retry { producer: 1, back: 0 },
            Op::Read { permille: 400, max_bytes: 1500 },
            Op::Hold { permille: 900 },
            Op::Truncate { permille: 900 - round * 100 },
            append(200, None),
            Op::Retain { bytes: 9000 },
            append(900, Some(2)),
            append(900, Some(2)),
            Op::Flush,
            Op::DeleteRecords { permille: 100 },
            Op::Sweep,
            Op::Roll,
            Op::Checkpoint,
        ] {
            world.apply(&op);
        }
    }
}

/// Every call of the script fails once, in each way, and then the power goes.
#[test]
fn every_single_call_can_fail_and_nothing_acknowledged_is_lost() {
    for kind in [FaultKind::Io, FaultKind::Full, FaultKind::Short] {
        let mut nth = 1;
        loop {
            let mut world = World::new(nth, small_config());
            let before = world.disk.faults_fired();
            world.disk.inject(Fault { call: None, nth, kind });
            script(&mut world);
            let fired = world.disk.faults_fired() > before;
            world.power_cut();
            script(&mut world);
            world.kill();
            if !fired {
                break;
            }
            nth += 1;
        }
        assert!(nth > 200, "only {nth} calls: the script has lost its power");
    }
}

/// While a partition is being opened after a crash, every call fails once; the next attempt succeeds.
#[test]
fn every_call_of_recovery_can_fail_and_the_next_attempt_recovers() {
    let mut nth = 1;
    loop {
        let mut world = World::new(nth, small_config());
        script(&mut world);
        let flushed = world.flushed;
        world.drop_log();
        world.disk.crash();
        world.disk.inject(Fault { call: None, nth, kind: FaultKind::Io });
        let failed =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(world.open_raw()))).is_err();
        let fired = world.disk.faults_fired() > 0;
        world.disk.clear_faults();
        world.disk.kill_process();
        world.open();
        world.check_recovered(flushed);
        world.power_cut();
        if !failed && !fired {
            break;
        }
        nth += 1;
    }
    assert!(nth > 20, "only {nth} calls");
}

/// Once upon a time a segment was written over: the bytes of its first life were whole batches with higher offsets than
/// the second one had reached when the power went, and recovery took them for data.
#[test]
fn what_an_earlier_life_of_a_file_left_never_passes_for_data() {
    for seed in 0..300 {
        let random = SimRandom::new(seed);
        let mut world = World::new(seed, small_config());
        let same = |records| Op::Append { value_bytes: 400, records, producer: None, time: 0, codec: 0 };
        for _ in 0..random.below(9) + 2 {
            world.apply(&same(1));
        }
        world.apply(&Op::Flush);
        // The same sizes again, so that old batches begin exactly where new ones end.
        world.apply(&Op::Truncate { permille: random.below(1000) as u16 });
        for _ in 0..random.below(4) {
            world.apply(&same(1));
        }
        if random.below(2) == 0 {
            world.apply(&Op::Flush);
            world.apply(&same(1));
        }
        if random.below(2) == 0 {
            world.kill();
            world.apply(&same(1));
        }
        world.power_cut();
        world.apply(&same(1));
        world.apply(&Op::Flush);
        world.power_cut();
    }
}

#[test]
fn recycled_space_is_used_and_shows_nothing_of_its_past() {
    let mut recycled = 0;
    for seed in 0..100 {
        let mut world = World::new(seed, small_config());
        for round in 0..40 {
            let records = 1 + (round % 3) as u8;
            world.apply(&Op::Append { value_bytes: 600, records, producer: None, time: 0, codec: 0 });
            if round % 4 == 3 {
                world.apply(&Op::Flush);
                world.apply(&Op::Checkpoint);
                world.apply(&Op::Retain { bytes: 5000 });
            }
        }
        recycled += world
            .dir
            .as_ref()
            .unwrap()
            .counters()
            .segments_recycled
            .load(std::sync::atomic::Ordering::Relaxed);
        world.power_cut();
    }
    assert!(recycled > 100, "only {recycled} segments were written over");
}
