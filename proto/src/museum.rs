//! Bugs that logs of this kind have had, to be put back on purpose: each must be caught by the model or the simulation.
//!
//! A line of the code asks [`active`] where such a bug would be. Without the feature `museum` the answer is a constant and the
//! line vanishes; no program that serves anybody is built with it. One bug at a time is active, in the whole process.
//!
//! At the bottom of the house because every room has its exhibits; it holds names and nothing else.

macro_rules! bugs {
    ($($name:ident = $rule:literal, $text:literal;)+) => {
        /// The exhibits.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Bug {
            $(#[doc = $text] $name,)+
        }

        impl Bug {
            /// All of them.
            pub const ALL: &[Bug] = &[$(Bug::$name),+];

            /// The rule that it breaks, by its number in the reliability specification, or the trap's name.
            #[must_use]
            pub fn rule(self) -> &'static str {
                match self { $(Bug::$name => $rule,)+ }
            }

            /// What goes wrong, in words.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $(Bug::$name => $text,)+ }
            }
        }
    };
}

bugs! {
    TruncateToHighWatermark = "M-01", "A follower cuts its log to its own high watermark when a leader takes over (KIP-101).";
    UnknownEpochIsFine = "M-02", "A leader that never saw the follower's last epoch takes the logs for equal (KIP-279).";
    EmptyEpochKept = "M-02", "Cutting a log leaves epochs in which nothing is left.";
    LeaderTakesAnyEpoch = "M-03", "A leader takes progress of followers that believe in another leader (KIP-320).";
    FollowerTakesAnyEpoch = "M-03", "A follower takes answers and batches of another leader.";
    CopyBeforeAgreement = "M-03", "A follower takes batches before the logs were found to agree.";
    JoinBelowEpochStart = "M-05", "A follower joins the in-sync replicas below the start of the leader's epoch.";
    JoinBelowHighWatermark = "M-05", "A follower joins the in-sync replicas below the high watermark.";
    StaleLifeJoins = "M-05", "A broker joins the in-sync replicas for what an earlier life of it had (KIP-903).";
    ExpansionCountsLate = "M-06", "A replica that is being added does not count until that is known to be done.";
    ShrinkCountsEarly = "M-06", "A replica that is being taken away no longer counts before that is done.";
    AlterWithoutCompare = "M-06", "Changes of in-sync replicas are not compared with what they change.";
    WipedDiskIsWhole = "M-08", "A broker that comes back with an empty disk is taken for whole.";
    UncleanIsClean = "M-08", "A crashed broker stays eligible though acknowledgements were only in memory.";
    RestartKeepsItsPart = "M-08", "A broker that restarts stays leader and in sync, in the same epoch.";
    HighWatermarkBelowMinimum = "M-09", "The high watermark rises though too few replicas are in sync.";
    LeaderCountsUnflushed = "M-12", "A leader counts what it has not flushed.";
    FollowerCountsUnflushed = "M-12", "A follower counts for what it has not flushed.";
    LatestTooEarly = "M-13", "A new leader tells where the end is before it knows what its predecessor had shown.";
    UncleanByDefault = "M-15", "Any replica is elected when no eligible one is there.";
    ElectionKeepsEpoch = "I6", "A new leader leads in its predecessor's epoch.";
    HighWatermarkBeyondLog = "I11", "A follower believes in a high watermark beyond its log's end.";
    HoleAfterFailure = "found", "A follower takes the batches behind one that it could not append.";
    AckAtAppend = "I10", "A batch is acknowledged when it is appended.";
    AckWhenDeposed = "I10", "Whoever waits is told that all went well when the leader is deposed.";
    ReadPastHighWatermark = "M-24", "Readers are shown what is appended and not yet safe.";
    LeaseIgnored = "M-60", "A leader that the controller has not heard of goes on.";
    HeardTooLate = "M-60", "A heartbeat renews a lease while its broker is being fenced.";
    DeposedUnaware = "M-60", "A lease is renewed for a broker that has not heard that others lead what it led.";
    LeavesUnheard = "M-60", "A reassignment takes a leader away before it is known to follow another one.";
    ZombieDecides = "M-63", "A decision of an earlier controller takes effect late.";
    DamageIsServedOn = "M-18", "A replica that comes upon damage in what it has stored goes on as if nothing were.";
    RepairWhileHeard = "M-20", "A damaged log is cut while its leader may still take it for whole.";
    RotIsTornTail = "M-20", "Damage in what had been flushed is taken for a torn tail, and cut off.";
    TornTailIsRot = "M-20", "A torn tail is taken for rot: the replica puts itself out of service.";
    FlushWithoutSync = "M-21", "The flushed end is moved without waiting for the device.";
    FailedSyncForgotten = "M-22", "A sync that failed is taken for done.";
    DedupeOff = "M-30", "A batch that is there already is appended again.";
    DedupeLostAtFailover = "M-32", "Followers do not learn which batches they copied.";
}

/// Whether this bug is put back.
#[cfg(not(feature = "museum"))]
#[inline(always)]
#[must_use]
pub const fn active(_bug: Bug) -> bool {
    false
}

#[cfg(feature = "museum")]
pub use exhibition::{active, exhibit};

#[cfg(feature = "museum")]
mod exhibition {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::Bug;

    const NONE: u8 = u8::MAX;
    static SHOWN: AtomicU8 = AtomicU8::new(NONE);

    /// Whether this bug is put back.
    #[inline]
    #[must_use]
    pub fn active(bug: Bug) -> bool {
        SHOWN.load(Ordering::Relaxed) == bug as u8
    }

    /// Puts a bug back, in place of the one before; or none.
    pub fn exhibit(bug: Option<Bug>) {
        SHOWN.store(bug.map_or(NONE, |bug| bug as u8), Ordering::Relaxed);
    }
}
