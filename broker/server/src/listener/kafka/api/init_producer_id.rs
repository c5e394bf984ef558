//! InitProducerId: a producer id that nobody had before.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;
use highwater_proto::ErrorCode;

/// Without a transactional id every request gets a new producer id, whatever id and epoch it names: some clients name 0,
/// and two producers with one id would take each other's batches for duplicates.
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: InitProducerIdRequest,
    _version: i16,
) -> InitProducerIdResponse {
    let response = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    if request.transactional_id.is_some() {
        // Transactions are not served; their clients look for a coordinator first and do not get here.
        return response.with_error_code(ErrorCode::InvalidRequest.number());
    }
    if (request.producer_id.0 == -1) != (request.producer_epoch == -1) {
        // An id without an epoch, or the reverse, is a client's mistake.
        return response.with_error_code(ErrorCode::InvalidRequest.number());
    }
    match context.services.new_producer_id().await {
        Ok(id) => response.with_producer_id(ProducerId(id.0)).with_producer_epoch(0),
        Err(error) => response.with_error_code(error.code().number()),
    }
}
