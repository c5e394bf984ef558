//! Simulated clusters: a few dozen here, thousands by `highwater-sim`.

use highwater_tests::sim::{Plan, run};

#[test]
fn clusters_in_all_kinds_of_trouble_lose_nothing_and_converge() {
    let mut faults = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let finished = run(&Plan::of(seed));
        assert!(finished.is_sound(), "{}", finished.complaint());
        let installed = finished.report.faults.iter().filter(|(_, count)| count.installed > 0);
        faults.extend(installed.map(|(class, _)| class.clone()));
    }
    assert!(faults.len() >= 12, "only {faults:?} were installed");
}

#[test]
fn the_same_seed_gives_the_same_events() {
    for seed in 100..105 {
        let (one, other) = (run(&Plan::of(seed)), run(&Plan::of(seed)));
        assert_eq!((one.trace, one.events), (other.trace, other.events), "seed {seed}");
        assert_ne!(one.trace, run(&Plan::of(seed + 1)).trace);
    }
}
