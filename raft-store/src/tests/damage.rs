//! Rot and missing files: the node starts with exactly what it had, or refuses and changes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use highwater_env::Disk;
use highwater_env::sim::SimDisk;
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorage;

use super::model::{self, DIRECTORY, State, Step};
use crate::StartError;
use crate::types::Vote;

/// A log of several segments, closed in peace; and what it holds.
async fn a_log() -> (Arc<SimDisk>, State) {
    let sim = SimDisk::new(7);
    let disk: Arc<dyn Disk> = sim.clone();
    let (mut store, thread, mut state) = model::start(&disk).expect("an empty disk");
    let vote = Vote::new_committed(4, 2);
    store.save_vote(&vote).await.expect("it is saved");
    state.follow(&Step::Vote(vote));
    for size in [50, 1500, 1500, 900, 1500, 1500, 33] {
        let entry = state.next_entry(size);
        state.follow(&Step::Entry(entry.clone()));
        let durable = model::append(&mut store, vec![entry]).await.await;
        durable.expect("an answer").expect("it is written");
    }
    let committed = state.entries[5].log_id();
    store.save_committed(Some(committed)).await.expect("it is queued");
    thread.stop().await;
    (sim, state)
}

/// Files by name, without the lock.
fn contents(sim: &SimDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = sim.contents();
    files.retain(|path, _| path.file_name().is_none_or(|name| name != "lock"));
    files
}

#[tokio::test]
async fn a_flipped_bit_anywhere_is_harmless_or_refused_and_never_taken_for_the_truth() {
    let (sim, state) = a_log().await;
    let files = contents(&sim);
    let (mut refused, mut harmless) = (0, 0);
    for (path, bytes) in &files {
        // Every byte of what was written; the zeros behind it here and there.
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 40;
        let tail = (written..bytes.len()).step_by(501);
        for at in (0..written.min(bytes.len())).chain(tail) {
            let image = sim.crash_image(1);
            image.rot(path, at as u64, 1 << (at % 8)).expect("the byte is there");
            let before = contents(&image);
            let disk: Arc<dyn Disk> = image.clone();
            match model::recover(&disk) {
                Ok(found) => {
                    assert_eq!(State::of(&found), state, "{} at {at}", path.display());
                    harmless += 1;
                }
                Err(error) => {
                    assert!(matches!(error, StartError::Damaged { .. }), "{error}");
                    assert_eq!(contents(&image), before, "nothing is changed: {error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 6000 && harmless > 100, "{refused} refused, {harmless} harmless");
}

#[tokio::test]
async fn a_missing_file_is_refused_with_what_to_do() {
    let (sim, _) = a_log().await;
    let files = contents(&sim);
    assert!(files.len() >= 5, "vote, marker, segments: {:?}", files.keys());
    for path in files.keys() {
        let image = sim.crash_image(1);
        image.remove_file(path).expect("it is there");
        let disk: Arc<dyn Disk> = image.clone();
        let error = model::recover(&disk).map(|_| ()).expect_err("something is missing");
        assert!(matches!(error, StartError::Damaged { .. }), "{}: {error}", path.display());
        assert!(error.to_string().contains("join again with a new id and an empty directory"), "{error}");
    }
}

#[tokio::test]
async fn a_log_that_ends_before_its_marker_is_refused() {
    let (sim, _) = a_log().await;
    let path = last_segment(&sim);
    let bytes = contents(&sim)[&path].clone();
    let file = sim.open(&path).expect("it is there");
    // The last entry is gone, without a trace in the segment itself.
    let end = bytes.iter().rposition(|byte| *byte != 0).expect("records") as u64;
    let zeros = vec![0; 80];
    file.write_at(end + 1 - 72, &[std::io::IoSlice::new(&zeros)]).expect("it is written");
    file.sync_data().expect("it is synced");
    let disk: Arc<dyn Disk> = sim;
    let error = model::recover(&disk).map(|_| ()).expect_err("an acknowledged entry is missing");
    assert!(error.to_string().contains("is not whole, but it was once"), "{error}");
}

#[tokio::test]
async fn a_damaged_record_is_refused_without_the_marker_because_a_later_one_says_that_it_was_synced() {
    let (sim, _) = a_log().await;
    let path = last_segment(&sim);
    let marker = Path::new(DIRECTORY).join("marker");
    for page in [0, 4096] {
        sim.rot(&marker, page + 16, 0xff).expect("the marker is there");
    }
    sim.rot(&path, 128 + 40, 1).expect("the first record is there");
    let disk: Arc<dyn Disk> = sim;
    let error = model::recover(&disk).map(|_| ()).expect_err("a synced record is broken");
    assert!(error.to_string().contains("is not whole, but it was once"), "{error}");
}

#[tokio::test]
async fn a_vote_with_one_rotten_copy_counts_and_is_repaired() {
    let (sim, state) = a_log().await;
    let path = Path::new(DIRECTORY).join("vote");
    for page in [0, 4096] {
        sim.rot(&path, page + 24, 0xff).expect("the vote is there");
        let disk: Arc<dyn Disk> = sim.clone();
        assert_eq!(model::recover(&disk).expect("one copy is left").vote, state.vote);
        sim.crash();
    }
}

fn last_segment(sim: &SimDisk) -> PathBuf {
    let is_segment = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "log");
    contents(sim).keys().rfind(is_segment).expect("a segment").clone()
}
