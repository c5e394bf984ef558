//! What must hold of a leader after every step.

use highwater_proto::Offset;

use super::leader::Leader;

impl Leader {
    /// Checks the leader's own invariants; `before` is the high watermark before the step.
    ///
    /// # Errors
    /// The invariant that is broken, by its name in the reliability specification.
    pub fn check_invariants(&self, before: Offset) -> Result<(), &'static str> {
        if self.high_watermark < before {
            return Err("I8: the high watermark never falls");
        }
        if self.high_watermark > self.log_end || self.flushed_end > self.log_end {
            return Err("I11: high watermark and flushed end are within the log");
        }
        if self.high_watermark > before {
            let rules = self.rules;
            if self.assignment.isr.len() < rules.min_in_sync {
                return Err("I9: the high watermark rises only with enough in-sync replicas");
            }
            if self.high_watermark > self.own_end() {
                return Err("I9: the high watermark is within what the leader itself counts");
            }
            let counted = |id| match self.followers.get(&id) {
                Some(replica) => replica.counted(rules.durability),
                None => self.own_end(),
            };
            if self.maximal_isr().any(|id| counted(id) < self.high_watermark) {
                return Err("I9: the high watermark is within every replica that may be in sync");
            }
        }
        if !self.assignment.isr.contains(&self.id) && !self.assignment.isr.is_empty() {
            return Err("I5: a leader is in sync with itself");
        }
        if self.assignment.isr.iter().any(|id| !self.assignment.replicas.contains(id)) {
            return Err("I5: in-sync replicas are replicas");
        }
        if self.followers.keys().any(|id| *id == self.id || !self.assignment.replicas.contains(id)) {
            return Err("a leader knows its followers and nobody else");
        }
        Ok(())
    }
}
