//! Which stretches of a segment were found in memory lately.
//!
//! Asking the kernel takes longer than reading a small slice, so an answer holds for a whole stretch and for a number of
//! reads. It is a hint like the kernel's own: pages may go at any time, and a read that meets one waits for it.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a stretch.
pub(crate) const STRETCH_BYTES: u64 = 1 << 20;
/// Reads after which the kernel is asked again.
const READS_MAX: u64 = 64;
/// Stretches remembered at once, each in the place its number leads to.
const PLACES: usize = 16;

/// What is remembered of one segment.
#[derive(Debug, Default)]
pub(crate) struct Warmth {
    /// Number of a stretch + 1, shifted, with the count of reads below; 0: nothing.
    places: [AtomicU64; PLACES],
}

impl Warmth {
    /// Whether all of this range was found in memory lately. Counts as a read.
    pub(crate) fn covers(&self, range: &Range<u64>) -> bool {
        stretches(range).all(|stretch| {
            // Two readers may count as one; that only delays the next question.
            let place = &self.places[stretch as usize % PLACES];
            let value = place.load(Ordering::Relaxed);
            let fresh = value / READS_MAX == stretch + 1 && value % READS_MAX < READS_MAX - 1;
            if fresh {
                place.store(value + 1, Ordering::Relaxed);
            }
            fresh
        })
    }

    /// Takes note that all of this range, in whole stretches, was found in memory.
    pub(crate) fn note(&self, range: &Range<u64>) {
        for stretch in stretches(range) {
            self.places[stretch as usize % PLACES].store((stretch + 1) * READS_MAX, Ordering::Relaxed);
        }
    }
}

/// The range in whole stretches, as far as there is data.
pub(crate) fn widen(range: &Range<u64>, data_bytes: u64) -> Range<u64> {
    let end = range.end.next_multiple_of(STRETCH_BYTES).min(data_bytes);
    (range.start - range.start % STRETCH_BYTES).min(end)..end
}

fn stretches(range: &Range<u64>) -> Range<u64> {
    range.start / STRETCH_BYTES..range.end.div_ceil(STRETCH_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_holds_for_its_stretches_and_a_number_of_reads() {
        let warmth = Warmth::default();
        let range = 100..STRETCH_BYTES + 1;
        assert!(!warmth.covers(&range));
        warmth.note(&range);
        assert!(!warmth.covers(&(0..2 * STRETCH_BYTES + 1)), "the third stretch is not known");
        let answers = (0..200).take_while(|_| warmth.covers(&range)).count();
        assert!((60..64).contains(&answers), "{answers} reads");
        warmth.note(&(0..1));
        warmth.note(&(16 * STRETCH_BYTES..16 * STRETCH_BYTES + 1));
        assert!(!warmth.covers(&(0..1)), "its place was taken");
    }

    #[test]
    fn a_range_is_widened_to_whole_stretches_within_the_data() {
        assert_eq!(widen(&(5..6), 100), 0..100);
        assert_eq!(widen(&(STRETCH_BYTES + 5..2 * STRETCH_BYTES), 1 << 30), STRETCH_BYTES..2 * STRETCH_BYTES);
    }
}
