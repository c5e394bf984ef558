//! InitProducerId: a producer id nobody had before, or the next epoch of one.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId};

use crate::listener::error_map::Coded;
use crate::listener::kafka::Context;
use highwater_proto::ErrorCode;

/// Without transactions an id has one holder, so a bumped epoch needs no record of its own: partitions learn it from the
/// first batch that carries it.
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
    let (id, epoch) = (request.producer_id.0, request.producer_epoch);
    if id >= 0 && (0..i16::MAX - 1).contains(&epoch) {
        return response.with_producer_id(ProducerId(id)).with_producer_epoch(epoch + 1);
    }
    match context.services.new_producer_id().await {
        Ok(id) => response.with_producer_id(ProducerId(id.0)).with_producer_epoch(0),
        Err(error) => response.with_error_code(error.code().number()),
    }
}
