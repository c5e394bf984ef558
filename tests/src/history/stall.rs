//! A time without an acknowledged write.

/// From when to when nothing was acknowledged, in microseconds since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stall {
    pub(crate) from: u64,
    pub(crate) end: u64,
}

impl Stall {
    pub(crate) fn micros(self) -> u64 {
        self.end.saturating_sub(self.from)
    }
}
