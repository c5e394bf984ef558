//! What a handler works with: the services, and what this connection's clients are told of the broker.

use std::sync::Arc;

use crate::config::Advertised;
use crate::service::Services;

/// One connection's surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The use cases.
    pub(crate) services: Arc<Services>,
    /// Where clients of this connection find the broker.
    pub(crate) advertised: Arc<Advertised>,
    /// The listener by which they came.
    pub(crate) listener: Arc<str>,
}
