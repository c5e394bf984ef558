//! The cluster's brokers as clients of one listener are told of them.

use highwater_core::metadata::{Broker, Partition};
use kafka_protocol::messages::BrokerId;
use kafka_protocol::protocol::StrBytes;

use super::Context;

/// A broker and where clients of this connection reach it.
pub(super) struct Reachable {
    pub(super) id: BrokerId,
    pub(super) host: StrBytes,
    pub(super) port: i32,
    pub(super) rack: Option<StrBytes>,
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

/// The replicas of a partition that are not in service.
pub(super) fn offline(context: &Context, partition: &Partition) -> Vec<BrokerId> {
    let image = context.services.image();
    ids(&partition.replicas.iter().copied().filter(|id| !image.is_active(*id)).collect::<Vec<_>>())
}
