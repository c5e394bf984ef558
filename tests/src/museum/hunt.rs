//! The hunt for one bug.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use highwater_core::settings::Durability;
use highwater_proto::museum::{Bug, exhibit};

use super::directed;
use crate::model::{Bounds, Depth, walk_for};
use crate::sim::{Plan, run};

/// Walks get so long in each configuration,
const WALKS: Duration = Duration::from_secs(3);
/// and then come clusters with so many seeds.
const SEEDS: u64 = 150;

/// How a bug was noticed.
#[derive(Clone, Debug)]
pub struct Catch {
    /// By what.
    pub by: String,
    /// What it said.
    pub said: String,
    /// After how long.
    pub seconds: f64,
}

/// Puts a bug back (or none, to see that nothing is noticed then) and hunts for it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "how long a hunt takes is what is asked")]
pub fn hunt(bug: Option<Bug>) -> Option<Catch> {
    exhibit(bug);
    let began = Instant::now();
    let found = walks().or_else(clusters).or_else(scenarios);
    exhibit(None);
    found.map(|(by, said)| Catch { by, said, seconds: began.elapsed().as_secs_f64() })
}

fn walks() -> Option<(String, String)> {
    for durability in [Durability::Fsync, Durability::Replicated] {
        for messages in [0, 4] {
            let bounds = Bounds { messages, ..Bounds::of(Depth::Walks, durability) };
            let walked = catch_unwind(AssertUnwindSafe(|| walk_for(bounds, 0, WALKS)));
            match walked {
                Ok(explored) => {
                    if let Some((broken, steps)) = explored.counterexamples.first() {
                        let by = format!("model, {} steps of {}", steps.lines().count(), explored.steps);
                        return Some((by, broken.clone()));
                    }
                }
                Err(panic) => return Some(("model".to_owned(), text_of(&*panic))),
            }
        }
    }
    None
}

fn clusters() -> Option<(String, String)> {
    for seed in 0..SEEDS {
        let finished = run(&Plan::of(seed));
        if finished.is_sound() {
            continue;
        }
        let violation = finished.violations.first().cloned();
        let anomalies: Vec<&str> = finished.report.anomalies.keys().map(String::as_str).collect();
        let said = violation.unwrap_or_else(|| anomalies.join(", "));
        return Some((format!("simulation, seed {seed} of 0..{SEEDS}"), said));
    }
    None
}

fn scenarios() -> Option<(String, String)> {
    let late = || directed::words_of_an_earlier_epoch_count_for_nothing().err();
    let deposed = || directed::no_lease_is_given_to_a_broker_that_does_not_know_that_it_was_deposed().err();
    let moved = || directed::a_leader_that_goes_is_counted_until_another_one_has_heard_of_it().err();
    let unsynced = || directed::a_sync_that_failed_proves_nothing().err();
    let cut = || directed::damage_in_what_was_flushed_is_not_cut_off().err();
    let wrong = late().map(|wrong| ("words that come two leaders late", wrong));
    let wrong =
        wrong.or_else(|| deposed().map(|wrong| ("a broker that does not know that it was deposed", wrong)));
    let wrong = wrong.or_else(|| moved().map(|wrong| ("a leader whom a reassignment takes away", wrong)));
    let wrong = wrong.or_else(|| cut().map(|wrong| ("a bit that flips in what was flushed", wrong)));
    let wrong = wrong.or_else(|| unsynced().map(|wrong| ("a sync that fails before the power does", wrong)));
    wrong.map(|(which, wrong)| (format!("scenario, {which}"), wrong))
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}
