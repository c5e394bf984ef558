//! What this broker does for others: Raft, control, and feeding followers.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use highwater_proto::{BrokerEpoch, BrokerId, TopicPartition};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::{Answer, Control, Request, recall};
use crate::partition::Partition;
use crate::peer::{DialError, Hello, Kind, PeerService, Purpose, dial};
use crate::replication::{Find, lead};
use crate::service::Services;

/// To see whether a broker's process is gone takes so long at most,
const PROBE_WAIT: Duration = Duration::from_millis(500);
/// with so long between two looks.
const PROBE_AGAIN: Duration = Duration::from_millis(10);

/// The service of a broker; what it needs may not be there yet while the broker starts.
pub(crate) struct BrokerService {
    pub(crate) control: Control,
    pub(crate) services: Weak<Services>,
}

impl PeerService for BrokerService {
    fn call(&self, _: &Hello, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (control, services) = (self.control.clone(), self.services.clone());
        Box::pin(async move {
            match kind {
                Kind::Raft => Ok(control.raft().handle(body).await),
                Kind::Control => {
                    let request = serde_json::from_slice(&body)
                        .map_err(|error| format!("the request cannot be read: {error}"))?;
                    let answer = match request {
                        Request::Describe(ids) => {
                            let services = services.upgrade().ok_or("this broker is stopping")?;
                            Answer::Described(services.describe_here(&ids).await)
                        }
                        Request::Recall(broker) => {
                            let services = services.upgrade().ok_or("this broker is stopping")?;
                            Answer::Recalled(recall::recollect(&services, broker).await)
                        }
                        request => control.answer(request).await,
                    };
                    Ok(serde_json::to_vec(&answer).expect("an answer is plain data").into())
                }
            }
        })
    }

    fn feed(&self, from: Hello, stream: TcpStream) -> BoxFuture<'static, ()> {
        let services = self.services.clone();
        Box::pin(async move {
            let Some(follower) = from.from.map(BrokerId) else { return };
            let find: Arc<Find> = Arc::new(move |id| find(services.clone(), id));
            lead(stream, follower, BrokerEpoch(from.broker_epoch), find).await;
        })
    }

    fn left(&self, from: &Hello) {
        let Some(broker) = from.from.map(BrokerId) else { return };
        let Some(services) = self.services.upgrade() else { return };
        let status = self.control.status();
        if status.is_leader {
            tokio::spawn(probe(services, broker));
        } else if status.leader == u64::try_from(broker.0).ok() {
            tokio::spawn(succeed(services, broker));
        }
    }
}

/// Whenever this node comes to lead: looks whether the others are there. Their sessions are fresh, and the one that led before
/// may be gone.
pub(crate) async fn probe_when_leading(services: Weak<Services>, control: Control, stop: CancellationToken) {
    let mut leading = control.decider().leading();
    loop {
        for leads in [true, false] {
            tokio::select! {
                reached = leading.wait_for(|leading| *leading == leads) => if reached.is_err() { return },
                () = stop.cancelled() => return,
            }
            let Some(services) = services.upgrade().filter(|_| leads) else { continue };
            for broker in services.metadata.image().brokers().filter(|broker| !broker.fenced) {
                tokio::spawn(probe(Arc::clone(&services), broker.id));
            }
        }
    }
}

/// A process that ended is missed at once: nobody listens where it was.
async fn probe(services: Arc<Services>, broker: BrokerId) {
    let Some(epoch) = services.metadata.image().broker(broker).map(|broker| broker.epoch) else { return };
    if has_ended(&services, broker).await {
        tracing::warn!(%broker, %epoch, "nobody listens at the broker's address: its process has ended");
        services.control.decider().gone(broker, epoch);
    }
}

/// The controller is gone: another one is elected without waiting for it.
async fn succeed(services: Arc<Services>, controller: BrokerId) {
    let Ok(leader) = u64::try_from(controller.0) else { return };
    if has_ended(&services, controller).await {
        tracing::warn!(broker = %controller, "the controller's process has ended: another one is elected");
        services.control.raft().leader_is_gone(leader).await;
    }
}

/// Whether nobody listens at a broker's address. While a process ends, its connections may go before its listener does: one
/// that breaks says nothing yet.
async fn has_ended(services: &Services, broker: BrokerId) -> bool {
    let address = services.metadata.image().broker(broker).map(|broker| broker.endpoints.peer.clone());
    let Some(address) = address.filter(|_| broker != services.identity.id()) else { return false };
    let identity = services.control.peers().identity();
    let looking = async {
        loop {
            match dial(identity, Purpose::Control, Some(broker), &address, PROBE_WAIT).await {
                Err(DialError::Nobody { .. }) => return true,
                Ok(_) | Err(DialError::Refused { .. }) => return false,
                Err(_) => tokio::time::sleep(PROBE_AGAIN).await,
            }
        }
    };
    tokio::time::timeout(PROBE_WAIT, looking).await.unwrap_or(false)
}

fn find(services: Weak<Services>, id: TopicPartition) -> BoxFuture<'static, Option<Arc<Partition>>> {
    Box::pin(async move { services.upgrade()?.partition(id).await.ok() })
}
