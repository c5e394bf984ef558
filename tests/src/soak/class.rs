//! The classes of faults.

/// A class of faults. What its installation has to show before it counts is said in `faults`, `procedures` and `lost_disk`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// `kill -9` of any broker.
    Kill,
    /// `kill -9` of the broker that leads a partition.
    KillLeader,
    /// `kill -9` of the broker that leads the metadata.
    KillController,
    /// SIGSTOP of any broker, SIGCONT later.
    Pause,
    /// SIGSTOP of the broker that leads a partition.
    PauseLeader,
    /// Everything from (or to) the other brokers is dropped, the other way is open.
    OneWayCut,
    /// Cut off from the other brokers, both ways; half of the time from the clients too.
    Isolation,
    /// Two brokers cannot reach each other, and both reach the third.
    PartialCut,
    /// One broker and the controller cannot reach each other.
    ControllerCut,
    /// What a broker sends is squeezed through a token bucket.
    SlowLink,
    /// The file system has no room.
    DiskFull,
    /// The file system stops without flushing its log, the process is killed, the disk comes back.
    PowerCut,
    /// The same on all brokers at once.
    PowerCutAll,
    /// A disk is lost for good; the broker is replaced.
    LostDisk,
    /// Each broker in turn is stopped in order (SIGTERM) and started again.
    RollingRestart,
    /// A broker joins, an old one is drained and removed, voters change; meanwhile another fault strikes.
    Membership,
    /// Every partition gets another leader.
    LeaderTransfer,
}

impl Class {
    /// All of them.
    pub const ALL: &[Class] = &[
        Class::Kill,
        Class::KillLeader,
        Class::KillController,
        Class::Pause,
        Class::PauseLeader,
        Class::OneWayCut,
        Class::Isolation,
        Class::PartialCut,
        Class::ControllerCut,
        Class::SlowLink,
        Class::DiskFull,
        Class::PowerCut,
        Class::PowerCutAll,
        Class::LostDisk,
        Class::RollingRestart,
        Class::Membership,
        Class::LeaderTransfer,
    ];

    /// Its name in histories, reports and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Class::Kill => "kill",
            Class::KillLeader => "kill-leader",
            Class::KillController => "kill-controller",
            Class::Pause => "pause",
            Class::PauseLeader => "pause-leader",
            Class::OneWayCut => "one-way-cut",
            Class::Isolation => "isolation",
            Class::PartialCut => "partial-cut",
            Class::ControllerCut => "controller-cut",
            Class::SlowLink => "slow-link",
            Class::DiskFull => "disk-full",
            Class::PowerCut => "power-cut",
            Class::PowerCutAll => "power-cut-of-all",
            Class::LostDisk => "lost-disk",
            Class::RollingRestart => "rolling-restart",
            Class::Membership => "membership",
            Class::LeaderTransfer => "leader-transfer",
        }
    }

    /// How many of a deck's cards it has: the short ones come more often.
    pub(super) fn cards(self) -> usize {
        match self {
            Class::PowerCutAll | Class::LostDisk | Class::RollingRestart | Class::Membership => 1,
            _ => 2,
        }
    }

    /// Whether another fault may be installed while it lasts, on another broker.
    pub(super) fn can_be_joined(self) -> bool {
        !matches!(
            self,
            Class::PowerCutAll
                | Class::LostDisk
                | Class::RollingRestart
                | Class::Membership
                | Class::LeaderTransfer
        )
    }
}

/// The names of all classes.
pub fn class_names() -> impl Iterator<Item = &'static str> {
    Class::ALL.iter().map(|class| class.name())
}
