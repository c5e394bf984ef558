//! One broker as the cluster knows it: its life, its disk, where it is reached, and whether it counts.

use std::fmt;

use highwater_proto::{BrokerEpoch, BrokerId};
use serde::{Deserialize, Serialize};

use super::record::{KafkaAddress, change};

/// 16 random bytes that tell one process of a broker from the next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Incarnation(pub [u8; 16]);

/// 16 random bytes that tell one cluster from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The cluster's identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Drawn at random when it was formed.
    pub id: ClusterId,
    /// For people.
    pub name: String,
}

/// An address for Kafka's clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaEndpoint {
    /// The listener's name.
    pub name: String,
    /// Name or address of the host.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Where a broker is reached; each is `host:port`, and empty where it isn't served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// By other brokers.
    pub peer: String,
    /// By gRPC clients.
    pub grpc: String,
    /// By Kafka's clients.
    #[serde(default)]
    pub kafka: Vec<KafkaEndpoint>,
    /// By people and their tools.
    #[serde(default)]
    pub admin: String,
}

/// A registered broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broker {
    /// Its id, which it keeps over all its lives.
    pub id: BrokerId,
    /// Counts its lives; rises with each registration.
    pub epoch: BrokerEpoch,
    /// The epoch of its last life that was ever unfenced, and so may have acknowledged something.
    pub served_epoch: Option<BrokerEpoch>,
    /// The process.
    pub incarnation: Incarnation,
    /// Names the disk that its data is on.
    pub disk_id: String,
    /// Where it is reached.
    pub endpoints: Endpoints,
    /// What fails together.
    pub rack: Option<String>,
    /// The newest version of the records that it reads.
    pub version: u32,
    /// It may neither lead nor be in sync: it was not heard of, or is starting.
    pub fenced: bool,
    /// Its replicas are moving away, and it gets no new ones.
    pub draining: bool,
    /// It is shutting down: it may neither lead nor be in sync. Ends with the next registration.
    pub stopping: bool,
    /// Index of the last entry that took a leadership from it, or fenced it; 0 if none did in this life. Until it has
    /// carried that entry out it may take itself for a leader that it is no more.
    pub deposed_at: u64,
}

impl Broker {
    /// Whether it may lead and be in sync.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.stopping
    }

    /// Whether it may be given new replicas.
    #[must_use]
    pub fn takes_replicas(&self) -> bool {
        self.is_active() && !self.draining
    }

    pub(super) fn to_wire(&self) -> change::BrokerRegistered {
        let kafka = self.endpoints.kafka.iter();
        change::BrokerRegistered {
            broker_id: self.id.0,
            epoch: self.epoch.0,
            served_epoch: self.served_epoch.map(|epoch| epoch.0),
            incarnation: self.incarnation.0.to_vec(),
            disk_id: self.disk_id.clone(),
            peer: self.endpoints.peer.clone(),
            grpc: self.endpoints.grpc.clone(),
            kafka: kafka
                .map(|at| KafkaAddress {
                    name: at.name.clone(),
                    host: at.host.clone(),
                    port: u32::from(at.port),
                })
                .collect(),
            admin: self.endpoints.admin.clone(),
            rack: self.rack.clone(),
            version: self.version,
            fenced: self.fenced,
            draining: self.draining,
            stopping: self.stopping,
            deposed_at: self.deposed_at,
        }
    }

    pub(super) fn from_wire(record: &change::BrokerRegistered) -> Result<Broker, &'static str> {
        let incarnation = record.incarnation.as_slice().try_into();
        let endpoint = |at: &KafkaAddress| {
            let port = u16::try_from(at.port).map_err(|_| "gives a port above 65535")?;
            Ok::<_, &'static str>(KafkaEndpoint { name: at.name.clone(), host: at.host.clone(), port })
        };
        Ok(Broker {
            id: BrokerId(record.broker_id),
            epoch: BrokerEpoch(record.epoch),
            served_epoch: record.served_epoch.map(BrokerEpoch),
            incarnation: Incarnation(incarnation.map_err(|_| "names an incarnation by other than 16 bytes")?),
            disk_id: record.disk_id.clone(),
            endpoints: Endpoints {
                peer: record.peer.clone(),
                grpc: record.grpc.clone(),
                kafka: record.kafka.iter().map(endpoint).collect::<Result<_, _>>()?,
                admin: record.admin.clone(),
            },
            rack: record.rack.clone(),
            version: record.version,
            fenced: record.fenced,
            draining: record.draining,
            stopping: record.stopping,
            deposed_at: record.deposed_at,
        })
    }
}
