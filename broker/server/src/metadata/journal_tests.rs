//! The journal against a disk that tears, rots, fills and fails.

use highwater_env::sim::{Fault, FaultKind, SimDisk};

use super::*;

fn entry(index: u64) -> Entry {
    Entry { index, body: vec![index as u8; 20 + index as usize] }
}

fn open(disk: &Arc<dyn Disk>) -> Result<(Journal, Recovered), JournalError> {
    Journal::open(disk, Path::new("/data/metadata"))
}

fn journal_file(disk: &Arc<dyn Disk>) -> Arc<dyn DiskFile> {
    disk.open(Path::new("/data/metadata/journal")).expect("the journal is there")
}

#[test]
fn a_journal_torn_at_any_byte_keeps_every_record_before_the_tear() {
    let whole: Vec<usize> = (1..=3).map(|i| encode_frame(&entry(i)).len()).collect();
    let total: usize = whole.iter().sum();
    for cut in 0..=total {
        let disk: Arc<dyn Disk> = SimDisk::new(1);
        let (mut journal, _) = open(&disk).unwrap();
        journal.append(&[entry(1), entry(2), entry(3)]).unwrap();
        journal_file(&disk).truncate(cut as u64).unwrap();
        let (mut journal, recovered) = open(&disk).unwrap();
        let expected = (1..=3).filter(|n| whole[..*n].iter().sum::<usize>() <= cut).count();
        assert_eq!(recovered.entries.len(), expected, "cut at {cut}");
        journal.append(&[entry(9)]).unwrap();
        let (_, recovered) = open(&disk).unwrap();
        assert_eq!(recovered.entries.last(), Some(&entry(9)), "cut at {cut}");
    }
}

#[test]
fn rot_in_the_middle_stops_the_broker_instead_of_losing_what_follows() {
    let first = encode_frame(&entry(1)).len() as u64;
    for position in 0..first {
        let disk: Arc<dyn Disk> = SimDisk::new(1);
        let (mut journal, _) = open(&disk).unwrap();
        journal.append(&[entry(1), entry(2)]).unwrap();
        let file = journal_file(&disk);
        let mut byte = [0];
        file.read_exact_at(position, &mut byte).unwrap();
        file.write_at(position, &[IoSlice::new(&[byte[0] ^ 0x40])]).unwrap();
        let error = open(&disk).expect_err("rot must be told").to_string();
        assert!(error.contains("damaged at byte 0"), "byte {position}: {error}");
    }
}

#[test]
fn a_crash_anywhere_while_folding_loses_nothing() {
    for failing in 1..12 {
        let sim = SimDisk::new(failing);
        let disk: Arc<dyn Disk> = Arc::<SimDisk>::clone(&sim);
        // Whoever owns the data directory made it durable before.
        disk.create_dir_all(Path::new("/data")).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let (mut journal, _) = open(&disk).unwrap();
        journal.append(&[entry(1), entry(2)]).unwrap();
        sim.inject(Fault { call: None, nth: failing, kind: FaultKind::Io });
        let _ = journal.fold(2, &[entry(1).body, entry(2).body]);
        drop(journal);
        sim.crash();
        sim.clear_faults();
        let (_, recovered) = open(&disk).unwrap();
        let in_snapshot = recovered.snapshot.map_or(0, |(index, _)| index);
        let last = recovered.entries.iter().map(|e| e.index).max().unwrap_or(in_snapshot);
        assert_eq!(last.max(in_snapshot), 2, "call {failing} failed");
    }
}
