//! The cluster's brokers as clients of one listener are told of them.

use std::collections::BTreeMap;

use highwater_core::metadata::{Broker, Partition};
use highwater_proto::{LeaderEpoch, TopicPartition};
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use super::Context;

/// A broker and where clients of this connection reach it.
#[derive(Debug)]
pub(super) struct Reachable {
    pub(super) id: BrokerId,
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
}

/// Who leads a partition.
#[derive(Debug)]
pub(super) struct LeaderHint {
    /// In which epoch.
    pub(super) epoch: LeaderEpoch,
    /// The leader.
    pub(super) broker: Reachable,
}

/// The leaders that an answer tells of, each once.
#[derive(Default)]
pub(super) struct Hinted {
    brokers: BTreeMap<BrokerId, Reachable>,
}

impl Hinted {
    /// Notes a leader. Returns its id and epoch, for the partition's part of the answer.
    pub(super) fn note(&mut self, hint: LeaderHint) -> (BrokerId, i32) {
        let id = hint.broker.id;
        self.brokers.insert(id, hint.broker);
        (id, hint.epoch.0)
    }

    /// Where they are.
    pub(super) fn into_brokers(self) -> impl ExactSizeIterator<Item = Reachable> {
        self.brokers.into_values()
    }
}

impl Context {
    /// Every broker that is in service and has the listener by which this client came. The broker itself is where the client
    /// reached it.
    pub(super) fn brokers(&self) -> Vec<Reachable> {
        let image = self.services.image();
        image
            .brokers()
            .filter(|broker| broker.is_active())
            .filter_map(|broker| self.reachable(broker))
            .collect()
    }

    /// The brokers that are registered and out of service, as [`Context::brokers`] has the others.
    pub(super) fn fenced_brokers(&self) -> Vec<Reachable> {
        let image = self.services.image();
        image
            .brokers()
            .filter(|broker| !broker.is_active())
            .filter_map(|broker| self.reachable(broker))
            .collect()
    }

    /// Who leads a partition and where it is, for a client that asked the wrong broker (KIP-951). Nothing if nobody leads, or
    /// this broker does and may not say so at the moment.
    pub(super) fn leader_hint(&self, partition: TopicPartition) -> Option<LeaderHint> {
        let image = self.services.image();
        let known = image.partition(partition)?;
        let leader = known.leader.filter(|leader| *leader != self.services.config().broker_id)?;
        let broker = image.broker(leader).filter(|broker| broker.is_active())?;
        Some(LeaderHint { epoch: known.leader_epoch, broker: self.reachable(broker)? })
    }

    /// Whether clients of this listener can reach a broker.
    pub(super) fn can_reach(&self, broker: &Broker) -> bool {
        self.reachable(broker).is_some()
    }

    fn reachable(&self, broker: &Broker) -> Option<Reachable> {
        let (host, port) = if broker.id == self.services.config().broker_id {
            (self.advertised.host.clone(), self.advertised.port)
        } else {
            let endpoint = broker.endpoints.kafka.iter().find(|endpoint| endpoint.name == *self.listener)?;
            (endpoint.host.clone(), endpoint.port)
        };
        Some(Reachable {
            id: BrokerId(broker.id.0),
            host: StrBytes::from_string(host),
            port: i32::from(port),
            rack: broker.rack.clone().map(StrBytes::from_string),
        })
    }

    /// The broker that a client takes for the controller: any of them passes requests on, so the one it asks is as good.
    pub(super) fn controller(&self) -> BrokerId {
        BrokerId(self.services.config().broker_id.0)
    }
}

/// A list of brokers for the wire.
pub(super) fn ids(brokers: &[highwater_proto::BrokerId]) -> Vec<BrokerId> {
    brokers.iter().map(|id| BrokerId(id.0)).collect()
}

/// A list of brokers from the wire.
pub(super) fn from_wire(brokers: &[BrokerId]) -> Vec<highwater_proto::BrokerId> {
    brokers.iter().map(|id| highwater_proto::BrokerId(id.0)).collect()
}

/// The replicas of a partition that are not in service.
pub(super) fn offline(context: &Context, partition: &Partition) -> Vec<BrokerId> {
    let image = context.services.image();
    ids(&partition.replicas.iter().copied().filter(|id| !image.is_active(*id)).collect::<Vec<_>>())
}
