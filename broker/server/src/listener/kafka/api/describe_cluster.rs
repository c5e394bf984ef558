//! DescribeCluster: its brokers.

use highwater_proto::ErrorCode;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::listener::kafka::brokers::Reachable;
use crate::listener::kafka::{Context, operations};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// The first version that may ask for brokers that are out of service.
const FENCED: i16 = 2;

/// Carries the request out.
#[expect(clippy::unused_async, reason = "every handler is called alike")]
pub(in crate::listener::kafka) async fn handle(
    context: &Context,
    request: DescribeClusterRequest,
    version: i16,
) -> DescribeClusterResponse {
    let refused = match request.endpoint_type {
        _ if version == 0 => None,
        BROKERS => None,
        CONTROLLERS => {
            Some((ErrorCode::MismatchedEndpointType, "this is a broker's listener, not a controller's"))
        }
        _ => {
            Some((ErrorCode::UnsupportedEndpointType, "endpoints are of type 1 (brokers) or 2 (controllers)"))
        }
    };
    let response = DescribeClusterResponse::default().with_error_message(None);
    let response = if version >= 1 { response.with_endpoint_type(request.endpoint_type) } else { response };
    if let Some((code, text)) = refused {
        let text = StrBytes::from_static_str(text);
        return response.with_error_code(code.number()).with_error_message(Some(text));
    }
    let broker = |broker: Reachable| {
        DescribeClusterBroker::default()
            .with_broker_id(broker.id)
            .with_host(broker.host)
            .with_port(broker.port)
            .with_rack(broker.rack)
    };
    let mut brokers: Vec<_> = context.brokers().into_iter().map(broker).collect();
    if version >= FENCED && request.include_fenced_brokers {
        brokers
            .extend(context.fenced_brokers().into_iter().map(|fenced| broker(fenced).with_is_fenced(true)));
        brokers.sort_by_key(|broker| broker.broker_id);
    }
    let asked = request.include_cluster_authorized_operations;
    response
        .with_cluster_id(StrBytes::from_string(context.services.cluster_id()))
        .with_controller_id(context.controller())
        .with_brokers(brokers)
        .with_cluster_authorized_operations(if asked { operations::CLUSTER } else { operations::NOT_ASKED })
}
