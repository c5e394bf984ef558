//! TCP and HTTP/2 connections to brokers: one kept per broker for control calls, a fresh one per bulk stream.
//!
//! Bulk data never shares a connection with control calls, so that a long batch does not hold up a question. Names
//! are resolved at every dial. Frames of 256 KiB are what lets gRPC reach the speed of plain TCP; the windows matter
//! over links with delay.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::config::ClientConfig;
use crate::error::{AdminError, ConnectError, is_transient, reason_of};

const FRAME_BYTES_MAX: u32 = 256 << 10;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest message read from a broker: a fetch of the largest batch a topic may hold, and room around it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Whether a control call that failed on its way may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// Reading twice is harmless: retry until the request timeout.
    UntilTimeout,
    /// The first attempt may have taken effect: only a dial that failed is tried elsewhere.
    Never,
}

/// Opens a connection of its own.
pub(crate) async fn dial(config: &ClientConfig, address: &str) -> Result<Channel, ConnectError> {
    let unreachable = |reason: String| ConnectError::Unreachable { addresses: address.to_owned(), reason };
    let endpoint = endpoint(config, address).map_err(|e| unreachable(reason_of(&e)))?;
    // The endpoint's own timeout covers the TCP handshake only; a listener that never speaks HTTP/2 must not hold us.
    match tokio::time::timeout(config.connect_timeout, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(channel),
        Ok(Err(error)) => Err(unreachable(reason_of(&error))),
        Err(_) => Err(unreachable(format!("no connection in {} ms", config.connect_timeout.as_millis()))),
    }
}

fn endpoint(config: &ClientConfig, address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .user_agent(config.client_id.clone())?
        .connect_timeout(config.connect_timeout)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(config.keep_alive))
        .http2_keep_alive_interval(config.keep_alive)
        .keep_alive_timeout(config.keep_alive)
        .keep_alive_while_idle(true)
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}

/// The control connections, one per address, dialled when first needed and dropped when they fail.
#[derive(Debug, Default)]
pub(crate) struct Control {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Control {
    /// Makes one unary call to the first of `addresses` that takes it.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        config: &ClientConfig,
        call: &'static str,
        addresses: &[String],
        repeat: Repeat,
        request: F,
    ) -> Result<T, AdminError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let deadline = Instant::now() + config.request_timeout;
        let mut attempt = 0;
        loop {
            let error = match self.call_once(config, call, addresses, deadline, &request).await {
                Ok(answer) => return Ok(answer),
                Err(Failed::Dialling(error)) => error,
                Err(Failed::Calling(error)) if repeat == Repeat::Never || !error.is_retriable() => {
                    return Err(error);
                }
                Err(Failed::Calling(error)) => error,
            };
            let wait = config.backoff().wait(attempt);
            if Instant::now() + wait >= deadline {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            attempt += 1;
        }
    }

    /// One attempt: the first address that can be dialled gets the call.
    pub(crate) async fn call_once<T, F, Fut>(
        &self,
        config: &ClientConfig,
        call: &'static str,
        addresses: &[String],
        deadline: Instant,
        request: &F,
    ) -> Result<T, Failed>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut reason = String::from("no address is known");
        for address in addresses {
            let channel = match self.channel(config, address).await {
                Ok(channel) => channel,
                Err(ConnectError::Unreachable { reason: why, .. }) => {
                    reason = why;
                    continue;
                }
                Err(error) => return Err(Failed::Dialling(error.into())),
            };
            return match tokio::time::timeout_at(deadline, request(channel)).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => {
                    if is_transient(status.code()) {
                        self.forget(address);
                    }
                    Err(Failed::Calling(AdminError::rpc(call, &status)))
                }
                Err(_) => {
                    self.forget(address);
                    Err(Failed::Calling(AdminError::TimedOut { call, after: config.request_timeout }))
                }
            };
        }
        Err(Failed::Dialling(ConnectError::Unreachable { addresses: addresses.join(", "), reason }.into()))
    }

    async fn channel(&self, config: &ClientConfig, address: &str) -> Result<Channel, ConnectError> {
        let kept = self.lock().get(address).cloned();
        if let Some(channel) = kept {
            return Ok(channel);
        }
        let channel = dial(config, address).await?;
        self.lock().insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    fn forget(&self, address: &str) {
        self.lock().remove(address);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one attempt of a control call ended.
#[derive(Debug)]
pub(crate) enum Failed {
    /// No broker was reached, so nothing can have happened.
    Dialling(AdminError),
    /// A broker was reached; the call may have taken effect.
    Calling(AdminError),
}

impl Failed {
    pub(crate) fn into_error(self) -> AdminError {
        match self {
            Failed::Dialling(error) | Failed::Calling(error) => error,
        }
    }
}
