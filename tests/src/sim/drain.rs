//! The end of a run: sends stop, everything is read from the beginning, and all replicas are the same.

use highwater_proto::Offset;

use super::consumers::Consumer;
use super::events::Event;
use super::world::{World, key};
use crate::history::{Kind, Op, Outcome, Phase};

/// Sends that are pending get this long, and what follows as much again, in milliseconds.
const DRAIN_MS: u64 = 15_000;
const LOOK_MS: u64 = 50;

impl World {
    /// No more sends.
    pub(super) fn be_quiet(&mut self) {
        self.quiet = true;
        self.plan_in(LOOK_MS, Event::Drain);
    }

    /// Begins the drain when nothing is pending, and ends the run when it is through.
    pub(super) fn drain(&mut self) {
        let quiet_at = self.plan.faults_ms + self.plan.heal_ms;
        let drains = self.consumers.iter().any(|consumer| consumer.drains);
        let pending = self.producers.iter().any(|producer| producer.pending.iter().any(Option::is_some));
        if !drains && !pending && self.unconverged().is_none() {
            self.begin_drain();
        } else if drains && self.has_drained() {
            self.note_phase(Phase::Drained);
            self.drained = true;
            self.over = true;
        } else if self.now > quiet_at + 2 * DRAIN_MS {
            if !drains {
                self.note_phase(Phase::FinalDrain);
            }
            let missing = self.unconverged();
            let state = missing.unwrap_or_else(|| "sends are pending, or the end cannot be read".to_owned());
            self.violated(format!("E24, I19: not converged: {state}"));
            self.over = true;
        }
        if !self.over {
            self.plan_in(LOOK_MS, Event::Drain);
        }
    }

    fn begin_drain(&mut self) {
        self.note_phase(Phase::FinalDrain);
        let client = self.consumers.len();
        let consumer = Consumer::new(1000, self.plan.partitions, true);
        for partition in 0..self.plan.partitions {
            let kind = Kind::Assign { key: key(partition), from: Some(0) };
            let at = self.now * 1000;
            self.ops.push(Op {
                idx: self.next_op,
                t_invoke: at,
                t_complete: Some(at),
                proc: consumer.proc,
                outcome: Outcome::Ok,
                error: None,
                deadline_us: None,
                kind,
            });
            self.next_op += 1;
        }
        self.consumers.push(consumer);
        self.plan_in(0, Event::Consumer { client });
    }

    fn has_drained(&self) -> bool {
        let Some(consumer) = self.consumers.iter().find(|consumer| consumer.drains) else { return false };
        let ends: &[Offset] = &self.true_high_watermarks;
        consumer.positions.iter().zip(ends).all(|(position, end)| position >= end)
    }
}
