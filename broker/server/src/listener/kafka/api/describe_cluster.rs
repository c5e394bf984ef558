//! DescribeCluster: its brokers.

use highwater_proto::ErrorCode;
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::{BrokerId, DescribeClusterRequest, DescribeClusterResponse};
use kafka_protocol::protocol::StrBytes;

use crate::listener::kafka::{Context, operations};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Carries the request out. No broker is ever fenced, so it makes no difference whether those are asked for.
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
    let config = context.services.config();
    let id = BrokerId(config.broker_id.0);
    let broker = DescribeClusterBroker::default()
        .with_broker_id(id)
        .with_host(StrBytes::from_string(context.advertised.host.clone()))
        .with_port(i32::from(context.advertised.port))
        .with_rack(None);
    let asked = request.include_cluster_authorized_operations;
    response
        .with_cluster_id(StrBytes::from_string(config.cluster_name.clone()))
        .with_controller_id(id)
        .with_brokers(vec![broker])
        .with_cluster_authorized_operations(if asked { operations::CLUSTER } else { operations::NOT_ASKED })
}
