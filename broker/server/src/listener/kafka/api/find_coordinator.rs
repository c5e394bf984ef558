//! FindCoordinator: there are no groups and no transactions yet, so no coordinator is ever there.
//!
//! It is served all the same, because librdkafka takes a broker without it for one that cannot read lz4.

use highwater_proto::ErrorCode;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use crate::listener::kafka::Context;

/// The broker that stands for none.
const NOBODY: BrokerId = BrokerId(-1);
const TEXT: &str = "groups and transactions are not served";

/// Carries the request out.
#[expect(clippy::unused_async, reason = "every handler is called alike")]
pub(in crate::listener::kafka) async fn handle(
    _context: &Context,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    // Retriable: a client waits for one to appear.
    let code = ErrorCode::CoordinatorNotAvailable.number();
    let text = Some(StrBytes::from_static_str(TEXT));
    if version < 4 {
        let response =
            FindCoordinatorResponse::default().with_error_code(code).with_node_id(NOBODY).with_port(-1);
        return if version >= 1 { response.with_error_message(text) } else { response };
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code)
            .with_error_message(text.clone())
            .with_node_id(NOBODY)
            .with_port(-1)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
