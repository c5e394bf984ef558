//! Who reaches whom, and how fast.

use highwater_env::sim::SimRandom;

/// The links between brokers, each direction by itself. Clients reach everybody.
#[derive(Debug)]
pub(super) struct Network {
    brokers: usize,
    /// How many faults block the way; by sender, then receiver.
    blocked: Vec<u32>,
    /// Extra milliseconds.
    slow: Vec<u64>,
    /// How many faults cut a broker from the controller alone.
    uncontrolled: Vec<u32>,
}

impl Network {
    pub(super) fn new(brokers: usize) -> Network {
        let ways = brokers * brokers;
        Network { brokers, blocked: vec![0; ways], slow: vec![0; ways], uncontrolled: vec![0; brokers] }
    }

    pub(super) fn block(&mut self, from: usize, to: usize) {
        self.blocked[from * self.brokers + to] += 1;
    }

    pub(super) fn unblock(&mut self, from: usize, to: usize) {
        self.blocked[from * self.brokers + to] -= 1;
    }

    pub(super) fn set_slow(&mut self, from: usize, to: usize, extra_ms: u64) {
        self.slow[from * self.brokers + to] = extra_ms;
    }

    pub(super) fn cut_control(&mut self, node: usize) {
        self.uncontrolled[node] += 1;
    }

    pub(super) fn mend_control(&mut self, node: usize) {
        self.uncontrolled[node] -= 1;
    }

    /// Whether the controller's words get through between these two.
    pub(super) fn hears_control(&self, from: usize, to: usize) -> bool {
        from == to || (self.uncontrolled[from] == 0 && self.uncontrolled[to] == 0)
    }

    pub(super) fn is_open(&self, from: usize, to: usize) -> bool {
        from == to || self.blocked[from * self.brokers + to] == 0
    }

    /// Milliseconds from one broker to another.
    pub(super) fn delay(&self, random: &SimRandom, from: usize, to: usize) -> u64 {
        let jitter = if random.below(50) == 0 { random.below(60) } else { random.below(3) };
        1 + jitter + self.slow[from * self.brokers + to]
    }
}
