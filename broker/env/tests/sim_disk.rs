//! What the simulated disk promises, and that it does what the real one does when nothing fails.

#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::os::OsDisk;
use highwater_env::sim::{CallKind, Fault, FaultKind, SimDisk};
use highwater_env::{Disk, DiskFile, EntryKind, LockError};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

#[derive(Clone, Debug)]
enum Step {
    Write { file: u8, at: u16, bytes: u16, fill: u8 },
    Allocate { file: u8, at: u16, bytes: u16 },
    Truncate { file: u8, bytes: u16 },
    Sync { file: u8 },
    SyncDirectory,
    Rename { from: u8, to: u8 },
    Remove { file: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let file = 0_u8..4;
    prop_oneof![
        4 => (file.clone(), 0_u16..9000, 0_u16..3000, any::<u8>())
            .prop_map(|(file, at, bytes, fill)| Step::Write { file, at, bytes, fill }),
        1 => (file.clone(), 0_u16..9000, 1_u16..9000).prop_map(|(file, at, bytes)| Step::Allocate { file, at, bytes }),
        1 => (file.clone(), 0_u16..9000).prop_map(|(file, bytes)| Step::Truncate { file, bytes }),
        2 => file.clone().prop_map(|file| Step::Sync { file }),
        1 => Just(Step::SyncDirectory),
        1 => (file.clone(), 0_u8..4).prop_map(|(from, to)| Step::Rename { from, to }),
        1 => file.prop_map(|file| Step::Remove { file }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..40)
}

fn cases(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(least),
        failure_persistence: None,
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x4849_4748),
            fixed => fixed,
        },
        ..default
    }
}

fn name(root: &Path, file: u8) -> PathBuf {
    root.join(format!("file-{file}"))
}

fn open(disk: &dyn Disk, path: &Path) -> Arc<dyn DiskFile> {
    disk.create(path).or_else(|_| disk.open(path)).unwrap()
}

fn apply(disk: &dyn Disk, root: &Path, step: &Step) -> std::io::Result<()> {
    match *step {
        Step::Write { file, at, bytes, fill } => {
            let bytes = vec![fill; usize::from(bytes)];
            let (front, back) = bytes.split_at(bytes.len() / 3);
            open(disk, &name(root, file)).write_at(u64::from(at), &[IoSlice::new(front), IoSlice::new(back)])
        }
        Step::Allocate { file, at, bytes } => {
            open(disk, &name(root, file)).allocate(u64::from(at), u64::from(bytes))
        }
        Step::Truncate { file, bytes } => open(disk, &name(root, file)).truncate(u64::from(bytes)),
        Step::Sync { file } => open(disk, &name(root, file)).sync_data(),
        Step::SyncDirectory => disk.sync_dir(root),
        Step::Rename { from, to } => disk.rename(&name(root, from), &name(root, to)),
        Step::Remove { file } => disk.remove_file(&name(root, file)),
    }
}

/// All files with what a read and a map show of them, which must be the same.
fn contents(disk: &dyn Disk, root: &Path) -> BTreeMap<String, Vec<u8>> {
    let read = |entry: highwater_env::DirEntry| {
        let file = disk.open(&root.join(&entry.name)).unwrap();
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_exact_at(0, &mut bytes).unwrap();
        let map = file.map(bytes.len() as u64).unwrap();
        assert_eq!(&map[..], &bytes[..]);
        disk.populate(&map).unwrap();
        assert!(disk.is_resident(&map).unwrap());
        assert!(file.map(bytes.len() as u64 + 1).is_err(), "a map never reaches beyond the end");
        (entry.name, bytes)
    };
    disk.list(root).unwrap().into_iter().map(read).collect()
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn the_simulated_disk_shows_what_the_real_one_shows(steps in steps()) {
        let folder = tempfile::tempdir().unwrap();
        let sim = SimDisk::new(1);
        sim.create_dir_all(Path::new("/root")).unwrap();
        for step in &steps {
            let real = apply(&OsDisk, folder.path(), step);
            let simulated = apply(&*sim, Path::new("/root"), step);
            prop_assert_eq!(real.is_ok(), simulated.is_ok(), "{:?}: {:?} {:?}", step, real, simulated);
        }
        prop_assert_eq!(contents(&OsDisk, folder.path()), contents(&*sim, Path::new("/root")));
    }
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn synced_files_under_synced_names_survive_every_power_cut(seed in any::<u64>(), steps in steps()) {
        let sim = SimDisk::new(seed);
        sim.create_dir_all(Path::new("/root")).unwrap();
        sim.sync_dir(Path::new("/")).unwrap();
        for step in &steps {
            let _ = apply(&*sim, Path::new("/root"), step);
        }
        for entry in sim.list(Path::new("/root")).unwrap() {
            sim.open(&Path::new("/root").join(entry.name)).unwrap().sync_data().unwrap();
        }
        sim.sync_dir(Path::new("/root")).unwrap();
        let before = contents(&*sim, Path::new("/root"));
        for _ in 0..3 {
            sim.crash();
            prop_assert_eq!(&contents(&*sim, Path::new("/root")), &before);
        }
    }

    #[test]
    fn each_sector_after_a_power_cut_was_there_before(seed in any::<u64>(), steps in steps()) {
        let sim = SimDisk::new(seed);
        sim.create_dir_all(Path::new("/root")).unwrap();
        sim.sync_dir(Path::new("/")).unwrap();
        // Every value a sector ever had; zeros are what is read where nothing was written.
        let mut ever: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        for step in &steps {
            let _ = apply(&*sim, Path::new("/root"), step);
            for bytes in contents(&*sim, Path::new("/root")).values() {
                for (sector, bytes) in bytes.chunks(512).enumerate() {
                    ever.entry(sector as u64).or_default().push(bytes.to_vec());
                }
            }
        }
        sim.crash();
        for bytes in contents(&*sim, Path::new("/root")).values() {
            for (sector, bytes) in bytes.chunks(512).enumerate() {
                let zeros = bytes.iter().all(|byte| *byte == 0);
                // A changed length cuts a sector or fills it up with zeros.
                let known = ever.get(&(sector as u64)).into_iter().flatten().any(|old| {
                    let common = old.len().min(bytes.len());
                    old[..common] == bytes[..common] || bytes.iter().zip(old).all(|(new, old)| new == old || *new == 0)
                });
                prop_assert!(zeros || known, "sector {} was made up", sector);
            }
        }
    }

    #[test]
    fn the_same_seed_and_the_same_calls_give_the_same_bytes(seed in any::<u64>(), steps in steps()) {
        let play = || {
            let sim = SimDisk::new(seed);
            sim.create_dir_all(Path::new("/root")).unwrap();
            for step in &steps {
                let _ = apply(&*sim, Path::new("/root"), step);
            }
            sim.crash();
            sim.contents()
        };
        prop_assert_eq!(play(), play());
    }

    #[test]
    fn a_full_disk_is_an_error_that_leaves_lengths_alone(pages in 1_u64..8, steps in steps()) {
        let sim = SimDisk::new(0);
        sim.create_dir_all(Path::new("/root")).unwrap();
        sim.set_capacity_bytes(pages * 4096);
        for step in &steps {
            let before = contents(&*sim, Path::new("/root"));
            if apply(&*sim, Path::new("/root"), step).is_err_and(|error| highwater_env::disk::is_disk_full(&error)) {
                let after = contents(&*sim, Path::new("/root"));
                let lengths = |all: &BTreeMap<String, Vec<u8>>| all.values().map(Vec::len).sum::<usize>();
                prop_assert_eq!(lengths(&before), lengths(&after));
            }
            prop_assert!(sim.used_bytes() <= pages * 4096);
        }
    }
}

#[test]
fn after_a_failed_sync_the_bytes_are_shown_and_a_later_sync_does_not_save_them() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = SimDisk::new(seed);
        let path = Path::new("/file");
        let file = sim.create(path).unwrap();
        sim.sync_dir(Path::new("/")).unwrap();
        file.write_at(0, &[IoSlice::new(&[7; 4096])]).unwrap();
        sim.inject(Fault { call: Some(CallKind::SyncData), nth: 1, kind: FaultKind::Io });
        assert!(file.sync_data().is_err());
        let mut bytes = vec![0; 4096];
        file.read_exact_at(0, &mut bytes).unwrap();
        assert_eq!(bytes, [7; 4096]);
        file.sync_data().unwrap();
        sim.crash();
        lost += u32::from(contents(&*sim, Path::new("/"))["file"] != vec![7; 4096]);
    }
    assert!(lost > 25, "only {lost} of 50 lost anything");
}

#[test]
fn an_unsynced_name_can_be_lost_and_an_old_handle_is_dead_after_a_crash() {
    let mut lost = 0;
    for seed in 0..50 {
        let sim = SimDisk::new(seed);
        let file = sim.create(Path::new("/file")).unwrap();
        file.sync_data().unwrap();
        sim.crash();
        lost += u32::from(!sim.exists(Path::new("/file")).unwrap());
        assert!(file.len().is_err());
    }
    assert!((5..45).contains(&lost), "{lost} of 50 were lost");
}

#[test]
fn a_map_sees_what_is_written_later_and_outlives_the_files_name() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(0);
    let disks: [(&dyn Disk, PathBuf); 2] =
        [(&OsDisk, folder.path().join("file")), (&*sim, PathBuf::from("/file"))];
    for (disk, path) in disks {
        let file = disk.create(&path).unwrap();
        file.allocate(0, 8192).unwrap();
        let map = file.map(8192).unwrap();
        file.write_at(5000, &[IoSlice::new(b"later")]).unwrap();
        assert_eq!(&map[5000..5005], b"later");
        disk.remove_file(&path).unwrap();
        drop(file);
        assert_eq!(&map[5000..5005], b"later");
    }
}

#[test]
fn a_directory_is_locked_for_one_holder_who_is_named_to_others() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(0);
    let disks: [(&dyn Disk, &Path); 2] = [(&OsDisk, folder.path()), (&*sim, Path::new("/"))];
    for (disk, path) in disks {
        let lock = disk.lock_directory(path, "the first").unwrap();
        match disk.lock_directory(path, "the second") {
            Err(LockError::Held { holder }) => assert_eq!(holder, "the first"),
            other => panic!("{other:?}"),
        }
        drop(lock);
        drop(disk.lock_directory(path, "the second").unwrap());
    }
}

#[test]
fn names_are_listed_in_order_with_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let sim = SimDisk::new(0);
    let disks: [(&dyn Disk, &Path); 2] = [(&OsDisk, folder.path()), (&*sim, Path::new("/"))];
    for (disk, path) in disks {
        disk.create_dir_all(&path.join("b/c")).unwrap();
        disk.create(&path.join("a")).unwrap();
        assert_eq!(
            disk.create(&path.join("a")).map(|_| ()).unwrap_err().kind(),
            std::io::ErrorKind::AlreadyExists
        );
        let listed: Vec<_> =
            disk.list(path).unwrap().into_iter().map(|entry| (entry.name, entry.kind)).collect();
        assert_eq!(listed, [("a".to_owned(), EntryKind::File), ("b".to_owned(), EntryKind::Directory)]);
        disk.remove_dir_all(&path.join("b")).unwrap();
        assert!(!disk.exists(&path.join("b/c")).unwrap());
        assert!(disk.free_bytes(path).unwrap() > 0);
    }
}
