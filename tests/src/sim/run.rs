//! One run, judged.

use std::hash::Hasher;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::world::World;
use crate::checker::{Report, Verdict, check_ops};
use crate::history::{Header, Limits, Op, SCHEMA_VERSION, Topic};

/// What became of a run.
#[derive(Debug)]
pub struct Finished {
    /// The plan that it was made from.
    pub plan: Plan,
    /// Of every event: equal plans, equal hashes.
    pub trace: u64,
    /// How many events there were.
    pub events: u64,
    /// Broken invariants, and a panic.
    pub violations: Vec<String>,
    /// What the checker says.
    pub report: Report,
    /// What clients saw.
    pub header: Header,
    /// What clients saw.
    pub ops: Vec<Op>,
    /// Metadata entries that were refused because they came too late (M-63).
    pub stale_entries: u64,
    /// Recoveries that found something lost (I20).
    pub unclean_recoveries: u64,
    /// Batches that a broker refused for their sequence.
    pub hopeless: u64,
}

impl Finished {
    /// Whether nothing was found.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.violations.is_empty() && self.report.verdict == Verdict::Passed
    }

    /// What was found, and how to see it again.
    #[must_use]
    pub fn complaint(&self) -> String {
        let violations: String = self.violations.iter().map(|what| format!("  {what}\n")).collect();
        format!(
            "seed {}: {:?}\n{violations}{}replay: {}\n",
            self.plan.seed,
            self.plan,
            self.report.summary(),
            self.header.replay
        )
    }
}

/// Runs a plan to its end, or to the first thing that is broken.
#[must_use]
pub fn run(plan: &Plan) -> Finished {
    let mut world = World::new(plan.clone());
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let mut violations = std::mem::take(&mut world.violations);
    if let Some(panic) = panicked {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        violations.push(format!("at {} ms: panicked: {}", world.now, text.unwrap_or_default()));
    }
    world.record_pending();
    let seed = plan.seed;
    let mut header = Header {
        highwater_history: SCHEMA_VERSION,
        seed,
        replay: format!("cargo run --release -p highwater-tests --bin highwater-sim -- --seed {seed}"),
        limits: Limits {
            ok_ops_min: 100,
            heal_us: plan.heal_ms * 1000,
            answer_slack_us: 5_000_000,
            ..Limits::default()
        },
        ..Header::default()
    };
    header.topics.insert("t".to_owned(), Topic { partitions: plan.partitions });
    let ops = std::mem::take(&mut world.ops);
    let report = check_ops(&header, ops.iter().cloned());
    world.trace(&(ops.len(), report.records_read, report.records_acknowledged));
    Finished {
        plan: plan.clone(),
        trace: world.hash.finish(),
        events: world.events,
        violations,
        report,
        header,
        ops,
        stale_entries: world.stale_entries,
        unclean_recoveries: world.unclean_recoveries,
        hopeless: world.hopeless,
    }
}
