//! What strikes when: decided by the seed alone. Whom it strikes may depend on who leads at that moment.

use std::time::Duration;

use highwater_env::sim::SimRandom;

use super::class::Class;

/// A fault that is to be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) class: Class,
    /// Chooses the broker, or the partition whose leader it is.
    pub(super) whom: u64,
    /// Chooses among the ways in which the class can strike.
    pub(super) how: u64,
    /// How long it stays.
    pub(super) lasts: Duration,
}

impl Planned {
    /// The same for somebody else, in another way.
    pub(super) fn shifted(self, by: u32) -> Planned {
        let by = u64::from(by);
        Planned { whom: self.whom.wrapping_add(by), how: self.how.wrapping_add(by), ..self }
    }
}

/// One or two faults at a time, then quiet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Episode {
    pub(super) first: Planned,
    /// Installed while the first one lasts.
    pub(super) second: Option<Planned>,
    /// How long nothing happens after everything is in sync again.
    pub(super) quiet: Duration,
}

/// An endless schedule. Each deck holds every class, shuffled, so that none is left out for long.
#[derive(Debug)]
pub(super) struct Schedule {
    random: SimRandom,
    classes: Vec<Class>,
    deck: Vec<Class>,
}

impl Schedule {
    pub(super) fn new(seed: u64, classes: &[Class]) -> Schedule {
        Schedule { random: SimRandom::new(seed ^ 0x50a4), classes: classes.to_vec(), deck: Vec::new() }
    }

    pub(super) fn next(&mut self) -> Episode {
        let class = self.draw();
        let first = self.plan(class);
        let joining: Vec<Class> =
            self.classes.iter().copied().filter(|class| class.can_be_joined()).collect();
        let joined = class.can_be_joined() && !joining.is_empty() && self.random.below(4) == 0;
        let second = joined.then(|| joining[self.below(joining.len())]).map(|class| self.plan(class));
        // A quarter of the time is quiet for long, so that a cluster at rest is disturbed too.
        let quiet = if self.random.below(4) == 0 { 3000 } else { 500 } + self.random.below(1000);
        Episode { first, second, quiet: Duration::from_millis(quiet) }
    }

    fn plan(&mut self, class: Class) -> Planned {
        let lasts = Duration::from_millis(1000 + self.random.below(4000));
        Planned { class, whom: self.random.next(), how: self.random.next(), lasts }
    }

    fn draw(&mut self) -> Class {
        if self.deck.is_empty() {
            // The first round has each class once, so that a short run has met them all.
            let mut once = self.classes.clone();
            let mut again: Vec<Class> =
                self.classes.iter().flat_map(|class| vec![*class; class.cards() - 1]).collect();
            self.shuffle(&mut once);
            self.shuffle(&mut again);
            self.deck = again;
            self.deck.extend(once);
        }
        self.deck.pop().expect("a deck was made")
    }

    fn shuffle(&self, deck: &mut [Class]) {
        for at in (1..deck.len()).rev() {
            deck.swap(at, self.below(at + 1));
        }
    }

    fn below(&self, end: usize) -> usize {
        usize::try_from(self.random.below(end as u64)).expect("an index")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_plans_the_same_and_another_one_does_not() {
        let plan = |seed| {
            let mut schedule = Schedule::new(seed, Class::ALL);
            (0..200).map(|_| schedule.next()).collect::<Vec<_>>()
        };
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn the_first_faults_of_a_run_have_every_class() {
        for seed in 0..50 {
            let mut schedule = Schedule::new(seed, Class::ALL);
            let mut met: Vec<Class> = Class::ALL.iter().map(|_| schedule.next().first.class).collect();
            met.sort_unstable();
            assert_eq!(met, Class::ALL);
        }
    }
}
