//! E25: everybody who asks is answered, in time.

use super::anomaly::{Anomaly, Findings};
use crate::history::{Limits, Op};

/// E25: the operation ended, and not long after its deadline.
pub(super) fn is_answered(op: &Op, limits: &Limits, findings: &mut Findings) {
    let Some(complete) = op.t_complete else {
        return findings.flag(Anomaly::Unanswered, || format!("op {} of process {}: never", op.idx, op.proc));
    };
    let took = complete.saturating_sub(op.t_invoke);
    if let Some(deadline) = op.deadline_us
        && took > deadline.saturating_add(limits.answer_slack_us)
    {
        findings.flag(Anomaly::Unanswered, || {
            format!("op {} of process {}: after {took} us of {deadline} allowed", op.idx, op.proc)
        });
    }
}
