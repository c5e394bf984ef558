//! Leadership goes back to the preferred leaders, some at a time and only when it is safe and worth it (M-14): a
//! leadership that moves costs every client a pause.

use std::time::Duration;

use highwater_proto::{BrokerId, TopicPartition};

use super::image::Image;
use super::partition::Partition;

/// When a leadership may go back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceRules {
    /// At most so many elections at once.
    pub elections_max: usize,
    /// At most so many records behind the leader may the preferred one be.
    pub lag_records_max: u64,
    /// The preferred leader has been in sync for at least this long: one that comes and goes is left alone.
    pub in_sync_for: Duration,
    /// The leader has not changed for at least this long.
    pub leader_for: Duration,
}

impl Default for BalanceRules {
    fn default() -> BalanceRules {
        BalanceRules {
            elections_max: 100,
            lag_records_max: 10_000,
            in_sync_for: Duration::from_secs(10),
            leader_for: Duration::from_secs(30),
        }
    }
}

/// What is known of a partition's preferred leader and of its present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BalanceFacts {
    /// How many records the preferred leader is behind.
    pub lag_records: u64,
    /// For how long it has been in sync.
    pub in_sync_for: Duration,
    /// For how long the present leader has led.
    pub leader_for: Duration,
}

/// The partitions whose preferred leaders should be elected now. `facts` answers for a partition and its preferred leader;
/// without an answer nothing is done.
pub fn to_elect(
    image: &Image,
    rules: BalanceRules,
    facts: impl Fn(TopicPartition, BrokerId) -> Option<BalanceFacts>,
) -> Vec<TopicPartition> {
    let ready = |facts: BalanceFacts| {
        facts.lag_records <= rules.lag_records_max
            && facts.in_sync_for >= rules.in_sync_for
            && facts.leader_for >= rules.leader_for
    };
    let displaced = image.partitions().filter_map(|(id, _, partition)| {
        let preferred = displaced(image, partition)?;
        facts(id, preferred).filter(|facts| ready(*facts)).map(|_| id)
    });
    displaced.take(rules.elections_max).collect()
}

/// The preferred leader, if it could lead and does not.
fn displaced(image: &Image, partition: &Partition) -> Option<BrokerId> {
    let preferred = partition.preferred_leader()?;
    let broker = image.broker(preferred)?;
    let could = broker.takes_replicas() && partition.isr.contains(&preferred);
    let settled = !partition.is_reassigning() && !partition.recovering;
    (could && settled && partition.leader.is_some_and(|leader| leader != preferred)).then_some(preferred)
}

#[cfg(test)]
mod tests {
    use super::super::command::{Command, ElectionKind, Outcome, Reassignment};
    use super::super::testing::{alter, ask, at, cluster, fence, first, ids, run, topic, unfence};
    use super::*;

    const GOOD: BalanceFacts = BalanceFacts {
        lag_records: 5,
        in_sync_for: Duration::from_secs(60),
        leader_for: Duration::from_secs(60),
    };

    /// Broker 1 should lead both partitions, and 2 does.
    fn displaced_cluster() -> Image {
        let mut image = cluster(4);
        topic(&mut image, &[&[1, 2, 3], &[1, 2, 3]], &[]);
        fence(&mut image, 1);
        unfence(&mut image, 1);
        let change = alter(&image, &[1, 2, 3]);
        ask(&mut image, change).unwrap();
        image
    }

    fn elect(image: &Image, facts: BalanceFacts) -> Vec<TopicPartition> {
        to_elect(image, BalanceRules::default(), |_, _| Some(facts))
    }

    #[test]
    fn a_preferred_leader_gets_its_leadership_back_only_once_it_is_in_sync() {
        let mut image = displaced_cluster();
        assert_eq!(elect(&image, GOOD), [at(0)], "of partition 1 it is not in sync");
        let partitions = Some(vec![at(0), at(1)]);
        let outcome = run(&mut image, &Command::ElectLeaders { kind: ElectionKind::Preferred, partitions });
        let Ok(Outcome::Elected { results }) = outcome else { panic!("{outcome:?}") };
        assert_eq!(results[0].result, Ok(BrokerId(1)));
        assert!(results[1].result.is_err());
        assert_eq!(first(&image).leader, Some(BrokerId(1)));
        assert_eq!(elect(&image, GOOD), []);
    }

    #[test]
    fn one_that_lags_or_flaps_or_whose_leader_is_new_waits() {
        let image = displaced_cluster();
        let soon = Duration::from_secs(9);
        for facts in [
            BalanceFacts { lag_records: 10_001, ..GOOD },
            BalanceFacts { in_sync_for: soon, ..GOOD },
            BalanceFacts { leader_for: soon, ..GOOD },
        ] {
            assert_eq!(elect(&image, facts), [], "{facts:?}");
        }
        assert_eq!(to_elect(&image, BalanceRules::default(), |_, _| None), []);
    }

    #[test]
    fn nothing_moves_while_replicas_do() {
        let mut image = displaced_cluster();
        let replicas = Some(ids(&[1, 2, 4]));
        let partitions = vec![Reassignment { partition: at(0), replicas }];
        run(&mut image, &Command::Reassign { partitions }).unwrap();
        assert!(first(&image).is_reassigning());
        assert_eq!(elect(&image, GOOD), []);
    }

    #[test]
    fn no_more_go_at_once_than_the_rules_say() {
        let mut image = cluster(2);
        topic(&mut image, &[&[1, 2][..]; 5], &[]);
        fence(&mut image, 1);
        unfence(&mut image, 1);
        let all: Vec<_> = (0..5).map(at).collect();
        let changes = all.iter().map(|id| {
            let change = alter(&image, &[1, 2]);
            super::super::command::AlterPartition { partition: *id, ..change }
        });
        let epoch = image.broker(BrokerId(2)).unwrap().epoch;
        let command = Command::AlterPartition { broker: BrokerId(2), epoch, changes: changes.collect() };
        run(&mut image, &command).unwrap();
        let rules = BalanceRules { elections_max: 3, ..BalanceRules::default() };
        assert_eq!(to_elect(&image, rules, |_, _| Some(GOOD)), all[..3]);
    }
}
