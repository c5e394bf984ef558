//! Stories that end in a crash, or have several: what was flushed is there, and what is there was appended.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

mod world;

use highwater_proto::Offset;
use proptest::prelude::*;
use world::{
    Op, World, crashing_op, failing_op, partition_path, plain_op, shrinking_op, small_config, stories, story,
};

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
    fn after_a_power_cut_the_log_is_a_prefix_that_holds_everything_flushed((seed, ops) in story(plain_op(), 40)) {
        let mut world = play(seed, &ops);
        world.power_cut();
    }

    #[test]
    fn a_killed_process_loses_nothing_that_was_appended((seed, ops) in story(shrinking_op(), 40)) {
        let mut world = play(seed, &ops);
        world.kill();
        world.check_contents();
    }

    #[test]
    fn any_number_of_crashes_and_restarts_keeps_what_was_flushed((seed, ops) in story(crashing_op(), 60)) {
        let mut world = play(seed, &ops);
        world.power_cut();
    }

    #[test]
    fn a_failing_disk_loses_nothing_that_was_acknowledged((seed, ops) in story(failing_op(), 60)) {
        let mut world = play(seed, &ops);
        world.power_cut();
    }

    #[test]
    fn recovering_twice_gives_the_same_bytes((seed, ops) in story(crashing_op(), 40)) {
        let mut world = play(seed, &ops);
        world.power_cut();
        let end = world.end();
        world.drop_log();
        world.open();
        world.check_recovered(end);
        let once = world.files();
        world.drop_log();
        world.open();
        world.check_recovered(end);
        let twice = world.files();
        let names = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
            files.keys().cloned().collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&once), names(&twice));
        for (name, bytes) in &once {
            // The state file counts its writes; everything else must not change at all.
            if !name.ends_with("partition.state") {
                prop_assert!(bytes == &twice[name], "{} differs", name.display());
            }
        }
    }

    #[test]
    fn closing_and_opening_changes_nothing_and_reads_nothing((seed, ops) in story(shrinking_op(), 40)) {
        let mut world = play(seed, &ops);
        let producers = world.log().producers().clone();
        let epochs = world.log().epochs().clone();
        let (start, end) = (world.log_start, world.end());
        world.reopen();
        if !world.batches.is_empty() {
            let seen = highwater_log::inspect::inspect(&*world.disk, &partition_path()).unwrap();
            prop_assert_eq!(seen.findings, vec![], "nothing is wrong in a closed log");
            let seen_end = seen.segments.last().map(|segment| segment.end);
            prop_assert!(end == start || seen_end == Some(end));
        }
        prop_assert_eq!(world.log().producers(), &producers);
        let wrote = |epochs: &highwater_log::epochs::LeaderEpochs| {
            epochs.entries().iter().copied().filter(|(_, start)| *start < end).collect::<Vec<_>>()
        };
        prop_assert_eq!(wrote(world.log().epochs()), wrote(&epochs));
        prop_assert_eq!((world.log().log_start(), world.log().log_end()), (start, end));
        world.power_cut();
        prop_assert_eq!(world.end(), end);
    }

    #[test]
    fn without_snapshots_the_producers_are_those_of_the_log((seed, ops) in story(plain_op(), 40)) {
        let mut world = play(seed, &ops);
        let before = world.log().producers().clone();
        world.kill();
        prop_assert_eq!(world.log().producers(), &before, "from snapshot and log");
        world.drop_log();
        remove_files(&world, ".snapshot");
        world.open();
        prop_assert_eq!(world.log().producers(), &before, "from the log alone");
    }

    #[test]
    fn without_its_caches_the_log_is_the_same((seed, ops) in story(plain_op(), 40)) {
        let mut world = play(seed, &ops);
        world.kill();
        let epochs = world.log().epochs().clone();
        world.drop_log();
        for suffix in [".index", ".snapshot", "leader-epochs"] {
            remove_files(&world, suffix);
        }
        world.open();
        let end = world.end();
        world.check_recovered(end);
        let appended = |epochs: &highwater_log::epochs::LeaderEpochs| {
            epochs.entries().iter().copied().filter(|(_, start)| *start < end).collect::<Vec<_>>()
        };
        prop_assert_eq!(appended(world.log().epochs()), appended(&epochs));
    }

    #[test]
    fn a_missing_state_file_deletes_nothing((seed, ops) in story(plain_op(), 40)) {
        let mut world = play(seed, &ops);
        world.reopen();
        let end = world.end();
        world.drop_log();
        remove_files(&world, "partition.state");
        world.open();
        prop_assert_eq!(world.log().log_end(), end);
        prop_assert_eq!(world.log().log_start(), Offset::ZERO);
        world.check_contents();
    }
}

fn remove_files(world: &World, suffix: &str) {
    use highwater_env::Disk;
    let Ok(entries) = world.disk.list(&partition_path()) else { return };
    for entry in entries.iter().filter(|entry| entry.name.ends_with(suffix)) {
        world.disk.remove_file(&partition_path().join(&entry.name)).unwrap();
    }
}
