//! When writes were acknowledged, and so for how long none was.

use crate::history::Stall;

/// The times of a partition's acknowledgements, in microseconds since the start of the run, sorted.
#[derive(Clone, Debug, Default)]
pub(super) struct Acknowledged {
    times: Vec<u64>,
}

impl Acknowledged {
    pub(super) fn new(mut times: Vec<u64>) -> Acknowledged {
        times.sort_unstable();
        Acknowledged { times }
    }

    /// The longest time without an acknowledgement that began within `[from, end)`; what began before `from` counts from
    /// there. `last` is when the run stopped writing, and ends what no acknowledgement ends.
    pub(super) fn longest_stall(&self, from: u64, end: u64, last: u64) -> Stall {
        let mut before = from;
        let mut longest = Stall::default();
        let after = self.times[self.times.partition_point(|time| *time < from)..].iter().copied();
        for time in after.chain([last.max(from)]) {
            let stall = Stall { from: before, end: time };
            if stall.micros() > longest.micros() {
                longest = stall;
            }
            before = time;
            if before >= end {
                break;
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_counts_from_the_fault_and_ends_with_an_acknowledgement_even_after_the_window() {
        let acknowledged = Acknowledged::new(vec![10, 0, 20, 95, 300, 310]);
        let stall = |from, end| {
            let Stall { from, end } = acknowledged.longest_stall(from, end, 400);
            (from, end)
        };
        assert_eq!(stall(15, 90), (20, 95), "it ends past the window");
        assert_eq!(stall(50, 90), (50, 95), "it began before the fault");
        assert_eq!(stall(96, 200), (96, 300));
        assert_eq!(stall(305, 500), (310, 400), "nothing came after 310");
        assert_eq!(Acknowledged::default().longest_stall(5, 10, 400).micros(), 395);
    }
}
