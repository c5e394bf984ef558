//! Scrubbing: every flipped bit of what is stored is found while the log is open, nothing else is, and a log that is cut where
//! the damage begins holds what was appended.

mod world;

use highwater_env::Disk;
use highwater_log::{AppendError, Health, ReadError};
use highwater_proto::record::BatchHeader;
use highwater_proto::{LeaderEpoch, Offset};
use proptest::prelude::*;
use world::{World, crashing_op, partition_path, plain_op, scrub, small_config, stories, story};

/// The segments: their paths, first offsets, and how many bytes of each are batches.
fn segments(world: &World) -> Vec<(std::path::PathBuf, i64, u64)> {
    let entries = world.disk.list(&partition_path()).unwrap_or_default();
    let names = entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(".log"));
    let mut bases: Vec<(i64, String)> =
        names.map(|name| (name[..20].parse().expect("an offset"), name)).collect();
    bases.sort();
    let ends = bases.iter().skip(1).map(|(base, _)| *base).chain([i64::MAX]).collect::<Vec<_>>();
    let segment = |((base, name), end): (&(i64, String), &i64)| {
        let batches = world.batches.iter().filter(|it| (*base..*end).contains(&it.header.base_offset.0));
        (partition_path().join(name), *base, batches.map(|it| it.bytes.len() as u64).sum())
    };
    bases.iter().zip(&ends).map(segment).collect()
}

proptest! {
    #![proptest_config(stories())]

    #[test]
    fn a_log_in_order_is_never_condemned((seed, ops) in story(crashing_op(), 40)) {
        let mut world = World::new(seed, small_config());
        for op in &ops {
            world.apply(op);
            let log = world.log();
            let (start, flushed) = (log.log_start(), log.flushed_end().get());
            let (found, looked_at) = scrub(log);
            prop_assert_eq!(found, vec![], "after {:?}", op);
            prop_assert!(looked_at >= flushed.max(start), "{} of {}", looked_at, flushed);
        }
    }

    #[test]
    fn any_flipped_bit_is_found_and_what_lies_before_the_damage_is_as_it_was_appended(
        (seed, ops) in story(plain_op(), 30), place in any::<u64>(), bit in 0_u8..8, again in any::<bool>()
    ) {
        let mut world = World::new(seed, small_config());
        for op in &ops {
            world.apply(op);
        }
        let _ = world.log().flush().unwrap();
        if again {
            world.kill();
        }
        let end = world.end();
        let full: Vec<_> = segments(&world).into_iter().filter(|(.., bytes)| *bytes > 0).collect();
        prop_assume!(!full.is_empty());
        let (path, base, bytes) = &full[place as usize % full.len()];
        let position = (place >> 8) % bytes;
        let mut at = 0;
        let hit = world.batches.iter().filter(|batch| batch.header.base_offset.0 >= *base).find(|batch| {
            at += batch.bytes.len() as u64;
            position < at
        });
        let hit = hit.expect("within the segment's batches").clone();
        world.disk.rot(path, position, 1 << bit).unwrap();

        let (found, _) = scrub(world.log());
        prop_assert_eq!(found.len(), 1, "one bit, one range: {:?}", found);
        let range = &found[0];
        prop_assert!(
            range.offset <= hit.header.base_offset && hit.next() <= range.end,
            "{:?} is not all of {:?}", range, hit.header
        );
        prop_assert_eq!(&range.path, path);
        let condemned = world.log().condemn(range.offset, range.end);
        prop_assert_eq!(condemned.as_ref(), Some(range), "the second look sees the same");
        prop_assert_eq!(world.log().health(), &Health::Rotten(range.clone()));
        let batch = world.build(1, 1, None, 0, 0);
        let header = BatchHeader::parse(&batch).unwrap();
        let refused = world.log().append(&batch, &header, LeaderEpoch(99), 0);
        prop_assert!(matches!(refused, Err(AppendError::Rotten(_))));
        let read = world.log().plan_read(hit.header.base_offset, end, 1);
        prop_assert!(matches!(read, Err(ReadError::Rotten { .. })), "it is served no more");
        prop_assert_eq!(scrub(world.log()).0, vec![], "it is passed over from now on");

        let cut = world.log().truncate_to(range.offset, 0).unwrap();
        prop_assert_eq!(cut, range.offset);
        prop_assert_eq!(world.log().health(), &Health::Good);
        world.batches.retain(|batch| batch.next() <= cut);
        prop_assert_eq!(world.end(), cut, "nothing that is whole was lost before the damage");
        world.check_contents();
    }
}

/// A reader that found damage and a retention that removed it at the same time: what is gone is no damage.
#[test]
fn what_went_away_meanwhile_is_not_condemned() {
    let mut world = World::new(1, small_config());
    for _ in 0..20 {
        let batch = world.build(600, 1, None, 0, 0);
        world.append_batch(&batch).unwrap();
    }
    let _ = world.log().flush().unwrap();
    let (path, ..) = segments(&world)[0].clone();
    world.disk.rot(&path, 100, 1).unwrap();
    let found = world.log().plan_scrub(Offset::ZERO).unwrap().run().unwrap().damage.unwrap();
    let end = world.log().log_end();
    world.log().delete_records(found.end, end).unwrap();
    assert_eq!(world.log().condemn(found.offset, found.end), None);
    assert_eq!(world.log().health(), &Health::Good);
}
