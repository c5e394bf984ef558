//! Visits every state, and says how many there were.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use highwater_core::settings::Durability;
use stateright::{Checker, HasDiscoveries, Model};

use super::state::Bounds;
use super::step::Replication;

/// How long one is willing to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Seconds in an unoptimised build.
    Smoke,
    /// A minute: what CI runs.
    Ci,
    /// As long as memory lasts.
    Nightly,
    /// Far too many states to visit them all: for walks at random.
    Walks,
}

impl Bounds {
    /// The bounds that fit into the time.
    pub fn of(depth: Depth, durability: Durability) -> Bounds {
        let ci = Bounds {
            values: 1,
            leader_epochs: 1,
            partition_epochs: 2,
            crashes: 1,
            wipes: 0,
            messages: 0,
            metadata_lag: 1,
            durability,
            min_in_sync: 2,
        };
        match depth {
            Depth::Smoke => Bounds { partition_epochs: 1, ..ci },
            Depth::Ci => ci,
            Depth::Nightly => Bounds { values: 2, leader_epochs: 2, partition_epochs: 3, ..ci },
            Depth::Walks => Bounds {
                values: 3,
                leader_epochs: 5,
                partition_epochs: 10,
                // What is only in memory is gone when all replicas that count lose it.
                crashes: if durability == Durability::Fsync { 2 } else { 1 },
                wipes: u8::from(durability == Durability::Fsync),
                messages: 4,
                metadata_lag: 3,
                ..ci
            },
        }
    }
}

/// What a run of the model found.
#[derive(Clone, Debug)]
pub struct Explored {
    /// States that differ.
    pub unique_states: usize,
    /// Steps taken.
    pub steps: usize,
    /// The longest way from the first state.
    pub depth: usize,
    /// Whether all states within the bounds were visited.
    pub complete: bool,
    /// Each property that does not hold, with the steps that lead there.
    pub counterexamples: Vec<(String, String)>,
    /// What must happen somewhere and does not.
    pub unreached: Vec<String>,
}

impl Explored {
    pub(super) fn nothing() -> Explored {
        Explored {
            unique_states: 0,
            steps: 0,
            depth: 0,
            complete: false,
            counterexamples: Vec::new(),
            unreached: Vec::new(),
        }
    }
}

/// Visits all states within the bounds, or as many as fit into `timeout`, breadth first, with this many threads.
pub fn explore(bounds: Bounds, timeout: Duration, threads: usize) -> Explored {
    let expired = Arc::new(AtomicBool::new(false));
    let model = Replication { bounds, expired: Arc::clone(&expired) };
    let running = model.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures).spawn_bfs();
    // Hanging up ends the wait before its time.
    let (done, ended) = mpsc::channel::<()>();
    let timer = {
        let expired = Arc::clone(&expired);
        std::thread::spawn(move || {
            if ended.recv_timeout(timeout) == Err(mpsc::RecvTimeoutError::Timeout) {
                expired.store(true, Ordering::Relaxed);
            }
        })
    };
    let checker = running.join();
    drop(done);
    timer.join().expect("a timer that only waits");
    let discoveries = checker.discoveries();
    let mut counterexamples = Vec::new();
    for (name, path) in &discoveries {
        if checker.model().property(name).expectation == stateright::Expectation::Always {
            let steps: Vec<String> =
                path.clone().into_actions().iter().map(|step| format!("{step:?}")).collect();
            counterexamples.push((format!("{name}: {:?}", path.last_state().broken), steps.join("\n  ")));
        }
    }
    let sometimes = checker.model().properties().into_iter();
    let sometimes = sometimes.filter(|property| property.expectation == stateright::Expectation::Sometimes);
    let unreached = sometimes.filter(|property| !discoveries.contains_key(property.name));
    Explored {
        unique_states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        complete: !expired.load(Ordering::Relaxed) && counterexamples.is_empty(),
        unreached: unreached.map(|property| property.name.to_owned()).collect(),
        counterexamples,
    }
}
