//! Raft's words, carried by the brokers' own connections.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use highwater_proto::BrokerId;
use highwater_raft_store::{BoxFuture, Transport, TransportError};

use crate::peer::{CallError, Kind, Peers};

/// Carries Raft's requests to other brokers.
#[derive(Debug)]
pub(crate) struct PeerTransport(pub(crate) Arc<Peers>);

impl Transport for PeerTransport {
    fn call(
        &self,
        target: u64,
        address: &str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, TransportError>> {
        let address = address.to_owned();
        Box::pin(async move {
            let unreachable = |reason: String| TransportError::Unreachable { reason };
            let id = i32::try_from(target).map_err(|_| unreachable(format!("{target} is no broker")))?;
            let called = self.0.call(BrokerId(id), &address, Kind::Raft, &request, timeout).await;
            called.map_err(|error| match error {
                CallError::TimedOut { .. } => TransportError::Timeout,
                error => unreachable(error.to_string()),
            })
        })
    }
}
