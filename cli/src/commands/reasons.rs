//! Why something that was asked for has not happened yet, for a person or a program that waits.

use highwater_client::{
    BrokerId, BrokerState, BrokerStatus, Client, ClusterStatus, PartitionDescription, TopicDescription,
};
use serde::Serialize;

use crate::exit::CliResult;

/// A partition that somebody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Waiting {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) reason: String,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}: {}", self.topic, self.partition, self.reason)
    }
}

/// What a broker that is to be drained still holds, and why.
pub(crate) async fn still_held(client: &Client, broker: BrokerId) -> CliResult<Vec<Waiting>> {
    let status = client.admin().cluster_status().await?;
    let topics = client.admin().describe_topics().await?;
    let held = |topic: &TopicDescription| -> Vec<Waiting> {
        let held = topic.partitions.iter().filter(|partition| partition.replicas.contains(&broker));
        let waiting = held.map(|partition| Waiting {
            topic: topic.name.clone(),
            partition: partition.partition.0,
            reason: why_it_stays(partition, broker, &status.brokers),
        });
        waiting.collect()
    };
    Ok(topics.iter().flat_map(held).collect())
}

fn why_it_stays(partition: &PartitionDescription, broker: BrokerId, brokers: &[BrokerStatus]) -> String {
    let is_there = |id: BrokerId| brokers.iter().any(|b| b.id == id && b.state == BrokerState::Active);
    if partition.leader.is_none() {
        return "it has no leader that others could copy it from".to_owned();
    }
    if !partition.removing_replicas.contains(&broker) {
        let takes = |b: &&BrokerStatus| {
            b.state == BrokerState::Active && !b.draining && !partition.replicas.contains(&b.id)
        };
        return match brokers.iter().filter(takes).count() {
            0 => "no live broker is left that could take it: every other one holds it already, is draining or not there"
                .to_owned(),
            _ => "its move has not begun; ask for it again".to_owned(),
        };
    }
    let missing = |id: &&BrokerId| **id != broker && !partition.in_sync_replicas.contains(id);
    let target = partition.replicas.iter().filter(|id| !partition.removing_replicas.contains(id));
    let reasons: Vec<String> = target
        .filter(missing)
        .map(|id| {
            let state = partition.replica_states.iter().find(|state| state.broker == *id);
            match state.and_then(|state| state.lag_records) {
                _ if !is_there(*id) => format!("broker {id} is not there"),
                Some(lag) => format!("broker {id} copies it and has {lag} records to go"),
                None => format!("broker {id} has not begun to copy it"),
            }
        })
        .collect();
    if reasons.is_empty() { "it is about to go".to_owned() } else { reasons.join(", ") }
}

/// Why records for a topic may not be acknowledged at the moment; nothing if all seems well.
pub(crate) async fn not_acknowledged(client: &Client, topic: &str) -> Vec<String> {
    let admin = client.admin();
    let status = match admin.cluster_status().await {
        Ok(status) => status,
        Err(error) => return vec![format!("no broker answers: {error}")],
    };
    match admin.describe_topic(topic).await {
        Ok(topic) => why_not_acknowledged(&topic, &status),
        Err(error) => vec![format!("the topic cannot be looked at: {error}")],
    }
}

fn why_not_acknowledged(topic: &TopicDescription, status: &ClusterStatus) -> Vec<String> {
    let mut reasons = Vec::new();
    if status.controller.is_none() {
        let voters = status.brokers.iter().filter(|b| b.role == highwater_client::NodeRole::Voter).count();
        reasons.push(format!(
            "the cluster has no controller, so nobody can take over: more than half of its {voters} voters must be there"
        ));
    }
    let min = topic.configs.iter().find(|config| config.name == "min.insync.replicas");
    let min: usize = min.and_then(|config| config.value.parse().ok()).unwrap_or(1);
    for partition in &topic.partitions {
        let (in_sync, name) = (partition.in_sync_replicas.len(), (&topic.name, partition.partition));
        let gone = |id: &BrokerId| {
            status.brokers.iter().any(|known| known.id == *id && known.state != BrokerState::Active)
        };
        let min = min.min(partition.replicas.len());
        let why = match partition.leader {
            None => "has no leader".to_owned(),
            Some(id) if gone(&id) => format!("is led by broker {id}, which is not there"),
            Some(_) if in_sync < min => format!("has {in_sync} of {min} required in-sync replicas"),
            Some(id) if partition.replica_states.is_empty() && partition.replicas.len() > 1 => {
                format!("is led by broker {id}, which does not answer")
            }
            Some(_) => continue,
        };
        reasons.push(format!("partition {}/{} {why}", name.0, name.1));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use highwater_client::{LeaderEpoch, NodeRole, Offset, PartitionIndex, ReplicaDescription, TopicId};

    use super::*;

    fn ids(numbers: &[i32]) -> Vec<BrokerId> {
        numbers.iter().copied().map(BrokerId).collect()
    }

    fn broker(id: i32, state: BrokerState) -> BrokerStatus {
        BrokerStatus {
            id: BrokerId(id),
            epoch: 1,
            state,
            draining: false,
            role: NodeRole::Voter,
            rack: String::new(),
            leaders: 0,
            replicas: 0,
            metadata_matched: None,
            grpc: String::new(),
            kafka: Vec::new(),
            admin: String::new(),
            peer: String::new(),
        }
    }

    fn partition(replicas: &[i32], in_sync: &[i32]) -> PartitionDescription {
        PartitionDescription {
            partition: PartitionIndex(0),
            leader: in_sync.first().copied().map(BrokerId),
            leader_epoch: LeaderEpoch(1),
            replicas: ids(replicas),
            in_sync_replicas: ids(in_sync),
            eligible_leader_replicas: Vec::new(),
            partition_epoch: 1,
            replica_states: Vec::new(),
            adding_replicas: Vec::new(),
            removing_replicas: Vec::new(),
            log_start_offset: Offset(0),
            high_watermark: Offset(0),
            log_end_offset: Offset(0),
            size_bytes: 0,
            offline_reason: String::new(),
        }
    }

    #[test]
    fn a_replica_that_nobody_can_take_says_so_and_one_that_is_copied_says_how_far() {
        use BrokerState::{Active, Fenced};
        let three = [broker(1, Active), broker(2, Active), broker(3, Active)];
        let stuck = why_it_stays(&partition(&[1, 2, 3], &[1, 2, 3]), BrokerId(2), &three);
        assert!(stuck.contains("no live broker is left"), "{stuck}");
        let four = |state| [&three[..], &[broker(4, state)]].concat();
        let waits = why_it_stays(&partition(&[1, 2, 3], &[1, 2, 3]), BrokerId(2), &four(Active));
        assert!(waits.contains("ask for it again"), "{waits}");
        let mut moving = partition(&[1, 4, 3, 2], &[1, 3]);
        moving.removing_replicas = ids(&[2]);
        let gone = why_it_stays(&moving, BrokerId(2), &four(Fenced));
        assert_eq!(gone, "broker 4 is not there");
        let lag = |id| ReplicaDescription {
            broker: BrokerId(id),
            in_sync: false,
            log_end_offset: Some(Offset(0)),
            flushed_end_offset: Some(Offset(0)),
            lag_records: Some(70),
        };
        moving.replica_states = vec![lag(4)];
        let copies = why_it_stays(&moving, BrokerId(2), &four(Active));
        assert_eq!(copies, "broker 4 copies it and has 70 records to go");
    }

    #[test]
    fn records_that_wait_for_replicas_or_a_leader_say_for_which() {
        use BrokerState::{Active, Fenced};
        let config = highwater_client::ConfigValue {
            name: "min.insync.replicas".to_owned(),
            value: "2".to_owned(),
            source: "topic".to_owned(),
            documentation: String::new(),
        };
        let mut led = partition(&[1, 2, 3], &[1]);
        led.replica_states = vec![ReplicaDescription {
            broker: BrokerId(1),
            in_sync: true,
            log_end_offset: None,
            flushed_end_offset: None,
            lag_records: None,
        }];
        let topic = |partition| TopicDescription {
            name: "t".to_owned(),
            id: TopicId([0; 16]),
            partitions: vec![partition],
            configs: vec![config.clone()],
        };
        let status = |controller, brokers: &[BrokerStatus]| ClusterStatus {
            name: String::new(),
            id: String::new(),
            controller,
            metadata_applied: 0,
            brokers: brokers.to_vec(),
            topics: 1,
            partitions: 1,
            leaderless: 0,
            under_replicated: 0,
            under_min_in_sync: 0,
        };
        let down = [broker(1, Active), broker(2, Fenced), broker(3, Fenced)];
        let one = Some(BrokerId(1));
        let few = why_not_acknowledged(&topic(led.clone()), &status(one, &down));
        assert_eq!(few, ["partition t/0 has 1 of 2 required in-sync replicas"]);
        let alone = why_not_acknowledged(&topic(led.clone()), &status(None, &down));
        assert!(alone[0].contains("no controller") && alone.len() == 2, "{alone:?}");
        led.in_sync_replicas = ids(&[1, 2]);
        assert!(why_not_acknowledged(&topic(led.clone()), &status(one, &down)).is_empty());
        led.leader = None;
        let none = why_not_acknowledged(&topic(led), &status(one, &down));
        assert_eq!(none, ["partition t/0 has no leader"]);
    }
}
