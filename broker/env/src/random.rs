//! The randomness seam: identities and seeds, nothing secret that a simulation could not replay.

use std::fmt;

/// Where random bytes come from.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` with random ones.
    fn fill(&self, bytes: &mut [u8]);

    /// A random number.
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
