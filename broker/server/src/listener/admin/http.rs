//! The routes of the admin listener and what they answer.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::service::{Services, TopicDetails};

#[derive(Clone)]
struct Admin {
    services: Arc<Services>,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`.
///
/// # Errors
/// The listener broke.
pub(crate) async fn serve(
    services: Arc<Services>,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let admin = Admin { services, shutdown: shutdown.clone() };
    let router = Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/v1/topics", get(topics))
        .route("/v1/topics/{name}", get(topic))
        .with_state(admin);
    axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

async fn ready(State(admin): State<Admin>) -> Response {
    if admin.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "shutting down\n").into_response();
    }
    match admin.services.metrics().partitions_offline.get() {
        0 => "ready\n".into_response(),
        offline => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{offline} partition(s) offline\n")).into_response()
        }
    }
}

async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], admin.services.metrics().render(&admin.services.log_counts()))
}

async fn topics(State(admin): State<Admin>) -> Json<Value> {
    let image = admin.services.image();
    let mut topics = Vec::new();
    for topic in image.topics() {
        topics.push(describe(&admin.services.describe_topic(topic).await));
    }
    Json(json!({ "topics": topics }))
}

async fn topic(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    match admin.services.image().topic_named(&name) {
        Some(topic) => Json(describe(&admin.services.describe_topic(topic).await)).into_response(),
        None => {
            let error = format!("there is no topic '{}'", name.escape_default());
            (StatusCode::NOT_FOUND, Json(json!({ "error": error }))).into_response()
        }
    }
}

fn describe(details: &TopicDetails) -> Value {
    let partitions = details.partitions.iter().map(|partition| {
        json!({
            "partition": partition.id.partition.0,
            "leader_epoch": partition.epoch.0,
            "log_start_offset": partition.log_start.0,
            "high_watermark": partition.high_watermark.0,
            "log_end_offset": partition.log_end.0,
            "size_bytes": partition.size_bytes,
            "offline_reason": partition.offline_reason,
        })
    });
    json!({
        "name": details.topic.name,
        "topic_id": details.topic.id.to_string(),
        "configs": details.topic.configs,
        "partitions": partitions.collect::<Vec<_>>(),
    })
}
