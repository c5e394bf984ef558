//! How requests reach another node: the caller's part, and the one thing this crate asks of the network.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

/// A future that can be sent to another thread.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries requests to other nodes, where [`crate::RaftNode::handle`] answers them.
pub trait Transport: Send + Sync + 'static {
    /// Sends a request to node `target` at `address` and waits up to `timeout` for its answer. A request may be lost,
    /// delayed or carried twice, but must reach no other node than `target` unchanged: a node refuses what is not for it.
    fn call(
        &self,
        target: u64,
        address: &str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, TransportError>>;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No answer came in time; the request may have arrived.
    #[error("no answer in time")]
    Timeout,
    /// There is no connection; it is tried again after a while.
    #[error("not reachable: {reason}")]
    Unreachable {
        /// What the network says.
        reason: String,
    },
}
