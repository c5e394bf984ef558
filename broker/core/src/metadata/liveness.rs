//! Who is alive, as the controller hears it: soft state, in no log (M-54). A broker whose session lapsed is to be fenced.
//!
//! Time comes in as a monotonic duration since any fixed point. A controller starts with fresh sessions for everybody: it
//! cannot know whom the one before it heard. And a controller that was itself asleep (stopped, starved, swapped out)
//! must not take its own silence for everybody else's: what it slept is added to every session.
//!
//! Whoever was found to have lapsed stays so until it is fenced: a heartbeat that comes while the fence is on its way
//! must not renew a lease, or two brokers would answer readers for the same partition (M-60).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use highwater_proto::museum::{self, Bug};
use highwater_proto::{BrokerEpoch, BrokerId};

use super::broker::Broker;
use super::image::Image;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    epoch: BrokerEpoch,
    ends: Duration,
    /// It lapsed, and the broker is being fenced for it.
    lapsed: bool,
}

/// The brokers' sessions with the controller.
#[derive(Clone, Debug)]
pub struct Sessions {
    timeout: Duration,
    sessions: BTreeMap<BrokerId, Session>,
    looked: Duration,
}

/// What a heartbeat was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The session goes on.
    Alive,
    /// The session goes on, but the broker does not know yet that others lead what it led: it may not lead until it does.
    Behind,
    /// It came too late: the broker is being fenced, and may lead no more until it is unfenced.
    TooLate,
    /// It came from a life before the present one, and counts for nothing (M-61).
    Stale,
}

impl Session {
    fn fresh(broker: &Broker, timeout: Duration, now: Duration) -> Session {
        Session { epoch: broker.epoch, ends: now.saturating_add(timeout), lapsed: false }
    }
}

impl Sessions {
    /// Fresh sessions for all brokers of the image.
    #[must_use]
    pub fn new(image: &Image, timeout: Duration, now: Duration) -> Sessions {
        let fresh = |broker: &Broker| (broker.id, Session::fresh(broker, timeout, now));
        Sessions { timeout, sessions: image.brokers().map(fresh).collect(), looked: now }
    }

    /// A broker was heard in the life that the newest image has it registered in; it has carried the metadata out up to
    /// `applied`.
    pub fn heard(&mut self, broker: &Broker, applied: u64, now: Duration) -> Heard {
        let fresh = Session::fresh(broker, self.timeout, now);
        let session = self.sessions.entry(broker.id).or_insert(fresh);
        if session.epoch > broker.epoch {
            return Heard::Stale;
        }
        let is_being_fenced = session.epoch == broker.epoch && session.lapsed && !broker.fenced;
        if is_being_fenced && !museum::active(Bug::HeardTooLate) {
            return Heard::TooLate;
        }
        *session = Session { ends: session.ends.max(fresh.ends), ..fresh };
        let is_behind = applied < broker.deposed_at && !museum::active(Bug::DeposedUnaware);
        if is_behind { Heard::Behind } else { Heard::Alive }
    }

    /// The process of this life of a broker is known to be gone: its host refuses connections, say. Its session ends at
    /// once, unless it is heard again before anybody looks.
    pub fn gone(&mut self, broker: BrokerId, epoch: BrokerEpoch) {
        if let Some(session) = self.sessions.get_mut(&broker).filter(|session| session.epoch == epoch) {
            session.ends = Duration::ZERO;
        }
    }

    /// The unfenced brokers whose sessions are over, each with the epoch to fence. To be called several times in each
    /// timeout; a longer pause means that the caller slept.
    pub fn lapsed(&mut self, image: &Image, now: Duration) -> Vec<(BrokerId, BrokerEpoch)> {
        let slept = now.saturating_sub(self.looked);
        self.looked = self.looked.max(now);
        if slept > self.timeout / 2 {
            for session in self.sessions.values_mut().filter(|session| session.ends > Duration::ZERO) {
                session.ends = session.ends.saturating_add(slept);
            }
        }
        self.sessions.retain(|id, _| image.broker(*id).is_some());
        let mut lapsed = Vec::new();
        for broker in image.brokers().filter(|broker| !broker.fenced) {
            let fresh = Session::fresh(broker, self.timeout, now);
            let session = self.sessions.entry(broker.id).or_insert(fresh);
            if session.epoch < broker.epoch {
                *session = fresh;
            }
            if session.ends <= now || session.lapsed {
                session.lapsed = true;
                lapsed.push((broker.id, broker.epoch));
            }
        }
        lapsed
    }

    /// The brokers that are alive: nobody else may register under their ids.
    #[must_use]
    pub fn alive(&self, now: Duration) -> BTreeSet<BrokerId> {
        let alive = self.sessions.iter().filter(|(_, session)| session.ends > now && !session.lapsed);
        alive.map(|(id, _)| *id).collect()
    }

    /// When the next session ends, if nobody is heard before.
    #[must_use]
    pub fn next_end(&self) -> Option<Duration> {
        self.sessions.values().map(|session| session.ends).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{cluster, epoch_of, fence, state, topic, unfence};
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(3);

    fn at(ms: u64) -> Duration {
        Duration::from_secs(1000) + Duration::from_millis(ms)
    }

    fn broker(image: &Image, id: i32) -> &Broker {
        image.broker(BrokerId(id)).expect("it is registered")
    }

    #[test]
    fn a_broker_that_is_not_heard_lapses_and_one_that_is_does_not() {
        let image = cluster(2);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        for ms in (0..4000).step_by(500) {
            sessions.heard(broker(&image, 1), image.applied(), at(ms));
            let lapsed = sessions.lapsed(&image, at(ms));
            let expected = if ms < 3000 { vec![] } else { vec![(BrokerId(2), epoch_of(&image, 2))] };
            assert_eq!(lapsed, expected, "after {ms} ms");
        }
        assert_eq!(sessions.alive(at(3500)), BTreeSet::from([BrokerId(1)]));
    }

    #[test]
    fn a_process_that_is_gone_lapses_at_once_and_only_in_its_own_life() {
        let image = cluster(1);
        let epoch = epoch_of(&image, 1);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        sessions.gone(BrokerId(1), BrokerEpoch(epoch.0 - 1));
        assert_eq!(sessions.lapsed(&image, at(1)), []);
        sessions.gone(BrokerId(1), epoch);
        assert_eq!(sessions.lapsed(&image, at(2)), [(BrokerId(1), epoch)]);
        assert_eq!(sessions.heard(broker(&image, 1), image.applied(), at(3)), Heard::TooLate);
        assert_eq!(sessions.lapsed(&image, at(4)), [(BrokerId(1), epoch)]);
    }

    #[test]
    fn a_heartbeat_that_comes_while_its_broker_is_being_fenced_gives_no_lease() {
        let mut image = cluster(2);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        sessions.heard(broker(&image, 2), image.applied(), at(2000));
        let ticks = [1400, 2800, 3000].map(|ms| sessions.lapsed(&image, at(ms)).len());
        assert_eq!(ticks, [0, 0, 1]);
        // The entry is on its way, and the image doesn't know it yet.
        assert_eq!(sessions.heard(broker(&image, 1), image.applied(), at(3001)), Heard::TooLate, "M-60");
        assert_eq!(sessions.alive(at(3001)), BTreeSet::from([BrokerId(2)]));
        assert_eq!(sessions.lapsed(&image, at(3002)).len(), 1, "should the entry have got lost");
        fence(&mut image, 1);
        assert_eq!(
            sessions.heard(broker(&image, 1), image.applied(), at(3003)),
            Heard::Alive,
            "it may be unfenced"
        );
        unfence(&mut image, 1);
        assert_eq!(sessions.heard(broker(&image, 1), image.applied(), at(3004)), Heard::Alive);
        assert_eq!(sessions.lapsed(&image, at(3005)), []);
    }

    #[test]
    fn a_broker_that_does_not_know_yet_that_it_was_deposed_lives_and_gets_no_lease() {
        let mut image = cluster(2);
        topic(&mut image, &[&[1, 2]], &[]);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        let known = image.applied();
        assert_eq!(sessions.heard(broker(&image, 1), known, at(1)), Heard::Alive);
        fence(&mut image, 1);
        unfence(&mut image, 1);
        assert_eq!(state(&image).0, Some(2), "it led, and 2 does now");
        assert_eq!(sessions.heard(broker(&image, 1), known, at(2)), Heard::Behind, "M-60");
        assert_eq!(sessions.heard(broker(&image, 2), known, at(2)), Heard::Alive, "nobody deposed that one");
        assert_eq!(sessions.heard(broker(&image, 1), broker(&image, 1).deposed_at, at(3)), Heard::Alive);
        assert_eq!(sessions.lapsed(&image, at(2999)), []);
    }

    #[test]
    fn a_heartbeat_of_an_earlier_life_counts_for_nothing() {
        let image = cluster(1);
        let epoch = epoch_of(&image, 1);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        let earlier = Broker { epoch: BrokerEpoch(epoch.0 - 1), ..broker(&image, 1).clone() };
        assert_eq!(sessions.heard(&earlier, image.applied(), at(2900)), Heard::Stale);
        for ms in (0..=3000).step_by(1000) {
            let lapsed = sessions.lapsed(&image, at(ms));
            assert_eq!(lapsed.is_empty(), ms < 3000, "after {ms} ms");
        }
    }

    #[test]
    fn a_controller_that_slept_does_not_take_its_silence_for_that_of_others() {
        let image = cluster(3);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        assert_eq!(sessions.lapsed(&image, at(500)), []);
        assert_eq!(sessions.lapsed(&image, at(60_000)), [], "it was stopped for a minute");
        for ms in (60_500..62_500).step_by(500) {
            assert_eq!(sessions.lapsed(&image, at(ms)), [], "after {ms} ms");
        }
        assert_eq!(sessions.lapsed(&image, at(62_500)).len(), 3, "and then nobody was heard");
    }

    #[test]
    fn a_new_controller_gives_everybody_a_fresh_session_and_nobody_who_is_fenced_lapses() {
        let mut image = cluster(2);
        fence(&mut image, 2);
        let mut sessions = Sessions::new(&image, TIMEOUT, at(0));
        assert_eq!(sessions.next_end(), Some(at(3000)));
        assert_eq!(sessions.lapsed(&image, at(1400)), []);
        assert_eq!(sessions.lapsed(&image, at(2800)), []);
        assert_eq!(sessions.lapsed(&image, at(3000)), [(BrokerId(1), epoch_of(&image, 1))]);
    }
}
