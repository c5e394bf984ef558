//! Puts the services on a listener, with HTTP/2 tuned.

use std::net::SocketAddr;
use std::sync::Arc;

use highwater_proto::grpc::admin_server::AdminServer;
use highwater_proto::grpc::log_server::LogServer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::admin_api::AdminApi;
use super::fetch_body::Uncopied;
use super::log_api::LogApi;
use crate::service::Services;

/// HTTP/2 frames, in bytes.
const FRAME_BYTES: u32 = 256 << 10;
/// HTTP/2 flow-control windows, in bytes.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Most streams of one connection.
const STREAMS_MAX: u32 = 1024;
/// A peer that doesn't answer a ping for this long is gone.
const KEEPALIVE: std::time::Duration = std::time::Duration::from_secs(30);

/// Serves until `shutdown`, then lets open calls end.
///
/// # Errors
/// What the transport or the reflection service says.
pub(crate) async fn serve(
    services: Arc<Services>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let request_max = services.config().request_max_bytes;
    let log_api = LogApi { services: Arc::clone(&services), shutdown: shutdown.clone() };
    let admin_api = AdminApi { services };
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<LogServer<LogApi>>().await;
    health.set_serving::<AdminServer<AdminApi>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(highwater_proto::grpc::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let incoming = TcpListenerStream::new(listener);
    let incoming = tokio_stream::StreamExt::map(incoming, |connection| {
        if let Ok(connection) = &connection {
            // Answers are small and somebody waits for them.
            let _ = connection.set_nodelay(true);
        }
        connection
    });
    let token = shutdown.clone();
    Server::builder()
        .max_frame_size(FRAME_BYTES)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .add_service(Uncopied(LogServer::new(log_api).max_decoding_message_size(request_max)))
        .add_service(AdminServer::new(admin_api).max_decoding_message_size(request_max))
        .add_service(health_service)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, async move {
            token.cancelled().await;
            health.set_not_serving::<LogServer<LogApi>>().await;
        })
        .await?;
    Ok(())
}

/// The address clients are told: what was configured, else where the listener is bound.
pub(crate) fn advertised(configured: Option<&str>, bound: SocketAddr) -> String {
    configured.map_or_else(|| bound.to_string(), str::to_owned)
}
