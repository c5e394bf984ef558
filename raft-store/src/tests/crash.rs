//! Power cuts at every call of the disk, and calls that fail: what was acknowledged is there, and what is there was issued.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use highwater_env::Disk;
use highwater_env::sim::{Fault, FaultKind, SimDisk};
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorage;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::model::{self, State, Step};
use super::snoop::{Moment, Snoop, Watch};
use crate::StartError;
use crate::log::LogStore;
use crate::types::{LogId, Vote};

/// What is asked of the log.
#[derive(Clone, Debug)]
enum Ask {
    /// Appends that are handed over one after the other before any is waited for: sizes of their entries.
    Append(Vec<Vec<u16>>),
    Vote {
        committed: bool,
    },
    /// Takes back this many entries, if they are not purged.
    Truncate {
        entries: u8,
    },
    /// Purges this many of the entries, in percent.
    Purge {
        percent: u8,
    },
    Committed {
        percent: u8,
    },
}

fn ask() -> impl Strategy<Value = Ask> {
    let sizes = proptest::collection::vec(0_u16..1500, 1..4);
    prop_oneof![
        5 => proptest::collection::vec(sizes, 1..4).prop_map(Ask::Append),
        2 => any::<bool>().prop_map(|committed| Ask::Vote { committed }),
        2 => (0_u8..6).prop_map(|entries| Ask::Truncate { entries }),
        1 => (0_u8..=100).prop_map(|percent| Ask::Purge { percent }),
        2 => (0_u8..=100).prop_map(|percent| Ask::Committed { percent }),
    ]
}

fn cases(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(least),
        failure_persistence: None,
        rng_seed: match default.rng_seed {
            RngSeed::Random => RngSeed::Fixed(0x5241_4654),
            fixed => fixed,
        },
        ..default
    }
}

/// A log that is asked, and the model beside it.
struct Driver {
    store: LogStore,
    watch: Arc<Watch>,
    /// After each step.
    states: Vec<State>,
    committed: Vec<Option<LogId>>,
}

impl Driver {
    fn now(&self) -> &State {
        self.states.last().expect("the first state is there")
    }

    fn issue(&mut self, step: &Step) {
        let mut state = self.now().clone();
        state.follow(step);
        self.states.push(state);
        self.watch.issued.store(self.states.len() - 1, Ordering::SeqCst);
    }

    fn acknowledge(&self, result: std::io::Result<()>) -> std::io::Result<()> {
        if result.is_ok() {
            self.watch.acknowledged.store(self.states.len() - 1, Ordering::SeqCst);
        }
        result
    }

    /// The log id of the entry at a share of what is held, if any is.
    fn at(&self, percent: u8) -> Option<LogId> {
        let entries = &self.now().entries;
        let index = (entries.len() * usize::from(percent) / 100).min(entries.len().checked_sub(1)?);
        Some(entries[index].log_id())
    }

    async fn carry_out(&mut self, ask: &Ask) -> std::io::Result<()> {
        match ask {
            Ask::Append(groups) => self.append(groups).await,
            Ask::Vote { committed } => {
                let term = self.now().term() + 1;
                let vote = if *committed { Vote::new_committed(term, 3) } else { Vote::new(term, 3) };
                self.issue(&Step::Vote(vote));
                let result = self.store.save_vote(&vote).await;
                self.acknowledge(result)
            }
            Ask::Truncate { entries } => {
                let held = &self.now().entries;
                let Some(keep) = held.len().checked_sub(usize::from(*entries)) else { return Ok(()) };
                if *entries == 0 {
                    return Ok(());
                }
                let after = if keep == 0 { self.now().purged } else { Some(held[keep - 1].log_id()) };
                self.issue(&Step::Truncate(after));
                let result = self.store.truncate_after(after).await;
                self.acknowledge(result)
            }
            Ask::Purge { percent } => {
                let Some(upto) = self.at(*percent) else { return Ok(()) };
                self.issue(&Step::Purge(upto));
                // It is durable at the latest with what follows.
                self.store.purge(upto).await
            }
            Ask::Committed { percent } => {
                let Some(committed) = self.at(*percent) else { return Ok(()) };
                self.committed.push(Some(committed));
                self.store.save_committed(Some(committed)).await
            }
        }
    }

    async fn append(&mut self, groups: &[Vec<u16>]) -> std::io::Result<()> {
        let mut waiting = Vec::new();
        for sizes in groups {
            let mut entries = Vec::new();
            for size in sizes {
                let entry = self.now().next_entry(usize::from(*size));
                self.issue(&Step::Entry(entry.clone()));
                entries.push(entry);
            }
            waiting.push(model::append(&mut self.store, entries).await);
        }
        let mut result = Ok(());
        for receiver in waiting {
            let answer = receiver.await.unwrap_or_else(|_| Err(std::io::Error::other("no answer")));
            result = result.and(answer);
        }
        self.acknowledge(result)
    }
}

/// What recovery finds lies between what was acknowledged and what was issued, and stays as it is through another crash.
fn check(image: &Arc<SimDisk>, driver: &Driver, acknowledged: usize, issued: usize) -> State {
    let disk: Arc<dyn Disk> = image.clone();
    let found = model::recover(&disk).expect("nothing is damaged");
    let state = State::of(&found);
    let expected = &driver.states[acknowledged..=issued];
    assert!(expected.contains(&state), "found {state:?}\nexpected one of {expected:?}");
    assert!(driver.committed.contains(&found.committed), "{:?} was never committed", found.committed);
    drop(found);
    image.crash();
    assert_eq!(
        State::of(&model::recover(&disk).expect("still not")),
        state,
        "a second crash changes nothing"
    );
    state
}

/// The recovered log goes on: what is appended to it is there after the next crash.
async fn goes_on(image: &Arc<SimDisk>, state: &State) {
    let disk: Arc<dyn Disk> = image.clone();
    let (mut store, thread, _) = model::start(&disk).expect("it starts");
    let mut state = state.clone();
    for bytes in [10, 2000] {
        let entry = state.next_entry(bytes);
        state.follow(&Step::Entry(entry.clone()));
        let durable = model::append(&mut store, vec![entry]).await.await;
        durable.expect("an answer").expect("it is written");
    }
    thread.stop().await;
    image.crash();
    assert_eq!(State::of(&model::recover(&disk).expect("nothing is damaged")), state);
}

async fn run(asks: &[Ask], every: u64, seed: u64) -> usize {
    let watch = Arc::new(Watch::new(every));
    let snoop = Snoop { disk: SimDisk::new(seed), watch: Arc::clone(&watch) };
    let disk: Arc<dyn Disk> = Arc::new(snoop);
    let (store, thread, first) = model::start(&disk).expect("an empty disk");
    let mut driver = Driver { store, watch: Arc::clone(&watch), states: vec![first], committed: vec![None] };
    for ask in asks {
        driver.carry_out(ask).await.expect("nothing fails");
    }
    thread.stop().await;
    let moments = std::mem::take(&mut *watch.moments.lock().expect("no panic"));
    let kept = moments.len();
    for (number, moment) in moments.into_iter().enumerate() {
        let state = check(&moment.image, &driver, moment.acknowledged, moment.issued);
        if number % 5 == 0 {
            goes_on(&moment.image, &state).await;
        }
    }
    kept
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn after_a_power_cut_at_any_call_the_vote_and_every_acknowledged_entry_are_there(
        asks in proptest::collection::vec(ask(), 1..14),
        every in 3_u64..9,
        seed in any::<u64>(),
    ) {
        let kept = runtime().block_on(run(&asks, every, seed));
        prop_assert!(kept > 0);
    }
}

/// Votes, appends that roll segments, truncations and purges.
fn script() -> Vec<Ask> {
    let append = |sizes: &[u16]| Ask::Append(vec![sizes.to_vec()]);
    vec![
        Ask::Vote { committed: true },
        append(&[100, 200]),
        Ask::Append(vec![vec![900, 900], vec![1200], vec![900, 10]]),
        Ask::Committed { percent: 50 },
        Ask::Truncate { entries: 2 },
        Ask::Vote { committed: false },
        append(&[1400, 1400]),
        append(&[1400]),
        Ask::Purge { percent: 80 },
        append(&[1000, 1000, 1000]),
        Ask::Vote { committed: true },
        append(&[5]),
    ]
}

/// Runs the script on a disk of which one call fails. `false` if it was never made.
async fn run_with_fault(nth: u64, kind: FaultKind) -> bool {
    let sim = SimDisk::new(nth);
    sim.inject(Fault { call: None, nth, kind });
    let watch = Arc::new(Watch::new(u64::MAX));
    let disk: Arc<dyn Disk> = sim.clone();
    match model::start(&disk) {
        Err(error) => {
            assert!(matches!(error, StartError::Io { .. }), "a call that fails is no damage: {error}");
            sim.clear_faults();
            let (_, thread, state) = model::start(&disk).expect("it can be tried again");
            assert_eq!(state, State::default());
            thread.stop().await;
        }
        Ok((store, thread, first)) => {
            let mut driver =
                Driver { store, watch: Arc::clone(&watch), states: vec![first], committed: vec![None] };
            let mut failed = false;
            for ask in script() {
                let result = driver.carry_out(&ask).await;
                let waits = !matches!(ask, Ask::Purge { .. } | Ask::Committed { .. });
                assert!(!(failed && waits && result.is_ok()), "after a failure nothing is acknowledged");
                failed |= result.is_err();
            }
            thread.stop().await;
            let fired = sim.faults_fired() > 0;
            sim.clear_faults();
            // The process ends, the machine goes on: what a failed sync lost can still be read.
            sim.kill_process();
            let acknowledged = watch.acknowledged.load(Ordering::SeqCst);
            let issued = watch.issued.load(Ordering::SeqCst);
            let state = check(&sim, &driver, acknowledged, issued);
            goes_on(&sim, &state).await;
            return fired;
        }
    }
    sim.faults_fired() > 0
}

#[tokio::test]
async fn any_call_that_fails_stops_the_log_and_loses_nothing_that_was_acknowledged() {
    for kind in [FaultKind::Io, FaultKind::Full, FaultKind::Short] {
        let mut nth = 1;
        while run_with_fault(nth, kind).await {
            nth += 1;
        }
        assert!(nth > 60, "the script makes many calls: {nth}");
    }
}

/// What power cuts in the middle of something leave, and what recovery makes of it.
async fn torn() -> Vec<(Arc<SimDisk>, State)> {
    let watch = Arc::new(Watch::new(1));
    let snoop = Snoop { disk: SimDisk::new(11), watch: Arc::clone(&watch) };
    let disk: Arc<dyn Disk> = Arc::new(snoop);
    let (store, thread, first) = model::start(&disk).expect("an empty disk");
    let mut driver = Driver { store, watch: Arc::clone(&watch), states: vec![first], committed: vec![None] };
    for ask in script() {
        driver.carry_out(&ask).await.expect("nothing fails");
    }
    thread.stop().await;
    let moments = std::mem::take(&mut *watch.moments.lock().expect("no panic"));
    let unsettled = moments.into_iter().filter(|moment| moment.acknowledged < moment.issued).step_by(4);
    let recover = |moment: Moment| {
        // Nothing of an image is unsynced, so its image is the same again.
        let copy = moment.image.crash_image(1);
        let state = check(&copy, &driver, moment.acknowledged, moment.issued);
        (moment.image, state)
    };
    unsettled.map(recover).collect()
}

#[tokio::test]
async fn a_start_that_fails_at_any_call_can_be_tried_again() {
    let mut failures = 0;
    for (torn, state) in torn().await {
        for nth in 1.. {
            let image = torn.crash_image(nth);
            image.inject(Fault { call: None, nth, kind: FaultKind::Io });
            let disk: Arc<dyn Disk> = image.clone();
            match model::recover(&disk) {
                Ok(_) if image.faults_fired() == 0 => break,
                Ok(_) => panic!("a call failed and nobody minded"),
                Err(error) => {
                    assert!(matches!(error, StartError::Io { .. }), "a failed call is no damage: {error}");
                }
            }
            failures += 1;
            image.clear_faults();
            image.kill_process();
            assert_eq!(State::of(&model::recover(&disk).expect("it can be tried again")), state);
            image.crash();
            assert_eq!(State::of(&model::recover(&disk).expect("and again")), state);
        }
    }
    assert!(failures > 100, "a start makes many calls: {failures}");
}
