//! Stories about what readers see: whole batches, as appended, found by offset and by time; retries told from news.

mod world;

use highwater_log::{LogConfig, Novelty};
use highwater_proto::Offset;
use highwater_proto::record::{BatchHeader, TimestampType, verify_crc};
use proptest::prelude::*;
use world::{Op, World, append_op, partition_path, plain_op, shrinking_op, small_config, stories, story};

fn play(seed: u64, ops: &[Op]) -> World {
    let mut world = World::new(seed, small_config());
    for op in ops {
        world.apply(op);
    }
    world
}

proptest! {
    #![proptest_config(stories())]

    #[test]
    fn a_read_from_any_offset_returns_whole_batches_as_appended(
        (seed, ops) in story(shrinking_op(), 30), max_bytes in 0_usize..3000
    ) {
        let mut world = play(seed, &ops);
        let end = world.end();
        for from in world.log_start.0..=end.0 {
            world.check_read(Offset(from), end, max_bytes);
        }
        world.check_read(end.advance(1), end.advance(2), max_bytes);
    }

    #[test]
    fn what_is_located_in_a_file_is_what_a_read_returns(
        (seed, ops) in story(shrinking_op(), 30), max_bytes in 0_usize..3000
    ) {
        let mut world = play(seed, &ops);
        let (mut next, end) = (world.log_start, world.end());
        while next < end {
            let read = world.log().plan_read(next, end, max_bytes).expect("in range").read();
            let located = world.log().plan_read(next, end, max_bytes).expect("in range").locate();
            let (read, located) = (read.expect("the disk is fine"), located.expect("the disk is fine"));
            let copy = located.slice.map_or_else(bytes::Bytes::new, |slice| slice.copy().expect("it is there"));
            prop_assert_eq!((copy, located.next), (read.bytes, read.next));
            next = read.next;
        }
    }

    #[test]
    fn a_read_never_reaches_beyond_its_bound((seed, ops) in story(plain_op(), 30), permille in 0_u16..=1000) {
        let mut world = play(seed, &ops);
        let bound = world.offset_at(permille);
        for from in (0..=bound.0).step_by(3) {
            world.check_read(Offset(from), bound, 100_000);
        }
    }

    #[test]
    fn cold_segments_are_read_after_their_pages_were_fetched((seed, ops) in story(plain_op(), 30)) {
        let mut world = play(seed, &ops);
        world.reopen();
        world.disk.set_resident(highwater_env::sim::Resident::No);
        let (mut next, end) = (Offset::ZERO, world.end());
        while next < end {
            let mut plan = world.log().plan_read(next, end, 900).expect("in range");
            prop_assert!(!plan.is_resident());
            plan.populate().expect("the disk is fine");
            next = plan.read().expect("the disk is fine").next;
        }
        world.check_contents();
    }

    #[test]
    fn few_maps_and_indexes_in_memory_change_nothing((seed, ops) in story(shrinking_op(), 30)) {
        let mut world = play(seed, &ops);
        world.reopen();
        for _ in 0..2 {
            world.check_contents();
        }
    }

    #[test]
    fn a_lookup_by_time_finds_what_a_search_through_everything_finds(
        (seed, ops) in story(shrinking_op(), 30), time in -600_i64..600, permille in 0_u16..=1000
    ) {
        let mut world = play(seed, &ops);
        let bound = world.offset_at(permille);
        for (time, bound) in [(time, bound), (time, world.end()), (-600, world.end())] {
            let time = 1_000_000 + time;
            let found = world.log().plan_timestamp(time, bound).find().expect("the disk is fine");
            let expected = world.brute_force_time(time, bound);
            prop_assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected);
        }
        world.reopen();
        let (time, end) = (1_000_000 + time, world.end());
        let found = world.log().plan_timestamp(time, end).find().expect("the disk is fine");
        let expected = world.brute_force_time(time, end);
        prop_assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected, "from the indexes' files");
    }

    #[test]
    fn the_latest_timestamp_is_found_where_it_comes_first((seed, ops) in story(shrinking_op(), 30)) {
        let mut world = play(seed, &ops);
        let end = world.end();
        let found = world.log().plan_max_timestamp(end).find_max().expect("the disk is fine");
        let records = world.records();
        let latest = records.iter().map(|(_, time)| *time).max();
        let expected = records.iter().find(|(_, time)| Some(*time) == latest).copied();
        prop_assert_eq!(found.map(|found| (found.offset, found.timestamp_ms)), expected);
    }

    #[test]
    fn the_last_five_batches_of_a_producer_are_known_and_a_gap_is_refused(
        (seed, ops) in story(append_op(), 30), crash in any::<bool>()
    ) {
        let mut world = play(seed, &ops);
        if crash {
            world.kill();
        }
        for producer in 0..3 {
            for back in 0..5 {
                world.apply(&Op::Retry { producer, back });
            }
            let id = highwater_proto::ProducerId(i64::from(producer));
            if world.log().producers().iter().any(|(known, _)| known == id) {
                let next = world.build(10, 2, Some(producer), 0, 0);
                let header = BatchHeader::parse(&next).expect("built");
                let mut ahead = header;
                ahead.base_sequence = (header.base_sequence.wrapping_add(2)) & i32::MAX;
                let refused = world.log().append(&next, &ahead, highwater_proto::LeaderEpoch(1), 0);
                prop_assert!(refused.is_err(), "{:?}", refused);
                let mut fenced = header;
                fenced.producer_epoch = -1;
                prop_assert!(world.log().append(&next, &fenced, highwater_proto::LeaderEpoch(1), 0).is_err());
                prop_assert_eq!(world.append_batch(&next).expect("in order"), Novelty::New);
            }
        }
    }

    #[test]
    fn with_broker_time_every_batch_gets_it_and_a_right_checksum((seed, ops) in story(append_op(), 20)) {
        let config = LogConfig { timestamp_type: TimestampType::LogAppendTime, ..small_config() };
        let mut world = World::new(seed, config);
        for op in &ops {
            let Op::Append { value_bytes, records, time, codec, .. } = op else { continue };
            let batch = world.build(*value_bytes, *records, None, *time, *codec);
            let header = BatchHeader::parse(&batch).expect("built");
            let appended = world.log().append(&batch, &header, highwater_proto::LeaderEpoch(1), 42).expect("space");
            prop_assert_eq!(appended.max_timestamp_ms, 42);
        }
        let stored = bytes::Bytes::from(world.read_all());
        for batch in highwater_proto::record::batches(stored) {
            let batch = batch.expect("whole");
            verify_crc(&batch).expect("a right checksum");
            prop_assert_eq!(BatchHeader::parse(&batch).expect("whole").max_timestamp_ms, 42);
        }
    }

    #[test]
    fn a_follower_that_copies_batches_has_the_same_log((seed, ops) in story(plain_op(), 30)) {
        let leader = play(seed, &ops);
        let mut follower = World::new(seed, small_config());
        for batch in &leader.batches {
            let appended = follower.log().append_as_follower(&batch.bytes, &batch.header, 0).expect("it follows");
            prop_assert_eq!(appended.base_offset, batch.header.base_offset);
        }
        let again = leader.batches.last().map(|last| follower.log().append_as_follower(&last.bytes, &last.header, 0));
        prop_assert!(again.is_none_or(|again| again.is_err()), "the same batch does not follow itself");
        follower.batches = leader.batches.clone();
        follower.check_contents();
        let _ = follower.log().flush().expect("the disk is fine");
        follower.flushed = follower.end();
        follower.power_cut();
    }

    #[test]
    fn an_empty_partition_has_no_directory(epoch in 0_i32..5) {
        let mut world = World::new(0, small_config());
        world.log().assign_epoch(highwater_proto::LeaderEpoch(epoch));
        prop_assert!(world.log().begin_flush().is_none());
        prop_assert!(world.log().begin_checkpoint().is_none());
        world.log().retain(i64::MAX, Offset(0)).expect("nothing to do");
        world.log().close().map(|_| ()).expect("nothing to do");
        prop_assert!(!highwater_env::Disk::exists(&*world.disk, &partition_path()).expect("the disk is fine"));
    }
}
