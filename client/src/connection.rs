//! TCP and HTTP/2 connections to brokers: one kept per broker for control calls, a fresh one per bulk stream.
//!
//! Bulk data never shares a connection with control calls, so that a long batch does not hold up a question. Names
//! are resolved at every dial. Frames of 256 KiB are what lets gRPC reach the speed of plain TCP; the windows matter
//! over links with delay.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

use crate::config::ClientConfig;
use crate::error::{AdminError, ConnectError, reason_of};

const FRAME_BYTES_MAX: u32 = 256 << 10;
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
/// Largest message read from a broker: a fetch of the largest batch a topic may hold, and room around it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// A broker that failed is asked last for this long.
const SUSPICION: Duration = Duration::from_secs(3);

/// How long a broker may take over a control call before another one is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// What a broker answers from memory.
    Short,
    /// What waits for the controller, or for a disk.
    Long,
}

impl Patience {
    fn duration(self) -> Duration {
        match self {
            Patience::Short => Duration::from_secs(1),
            Patience::Long => Duration::from_secs(10),
        }
    }
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
    /// Addresses that failed, and when.
    suspects: Mutex<HashMap<String, Instant>>,
}

impl Control {
    /// Makes one unary call, to the first of `addresses` that answers, until the request timeout. For calls that may be
    /// repeated.
    pub(crate) async fn call<T, F, Fut>(
        &self,
        config: &ClientConfig,
        call: &'static str,
        addresses: impl Fn() -> Vec<String>,
        request: F,
    ) -> Result<T, AdminError>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let deadline = Instant::now() + config.request_timeout;
        let mut attempt = 0;
        loop {
            let failed =
                match self.call_once(config, call, &addresses(), Patience::Short, deadline, &request).await {
                    Ok(answer) => return Ok(answer),
                    Err(failed) => failed,
                };
            let wait = config.backoff().wait(attempt);
            if !failed.error.is_retriable() || Instant::now() + wait >= deadline {
                return Err(failed.error);
            }
            // A broker that did not answer is suspected by now, so that the next one is asked without a pause.
            if failed.reach == Reach::Nobody || addresses().len() < 2 {
                tokio::time::sleep(wait).await;
            }
            attempt += 1;
        }
    }

    /// One attempt: the first address that can be dialled gets the call. Those that failed lately come last.
    pub(crate) async fn call_once<T, F, Fut>(
        &self,
        config: &ClientConfig,
        call: &'static str,
        addresses: &[String],
        patience: Patience,
        deadline: Instant,
        request: &F,
    ) -> Result<T, Failed>
    where
        F: Fn(Channel) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, tonic::Status>>,
    {
        let mut reason = String::from("no address is known");
        for address in self.trusted_first(addresses) {
            let channel = match self.channel(config, address).await {
                Ok(channel) => channel,
                Err(ConnectError::Unreachable { reason: why, .. }) => {
                    self.suspect(address);
                    reason = why;
                    continue;
                }
                Err(error) => return Err(Failed { reach: Reach::Nobody, error: error.into() }),
            };
            let began = Instant::now();
            let until = deadline.min(began + patience.duration().min(config.request_timeout));
            let error = match tokio::time::timeout_at(until, request(channel)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => AdminError::rpc(call, &status),
                Err(_) => AdminError::TimedOut { call, after: until - began },
            };
            if error.is_retriable() {
                self.suspect(address);
            }
            return Err(Failed { reach: Reach::Broker, error });
        }
        let error = ConnectError::Unreachable { addresses: addresses.join(", "), reason };
        Err(Failed { reach: Reach::Nobody, error: error.into() })
    }

    /// Drops the connection, and has others asked first for a while.
    pub(crate) fn suspect(&self, address: &str) {
        self.lock().remove(address);
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.insert(address.to_owned(), Instant::now());
    }

    fn trusted_first<'a>(&self, addresses: &'a [String]) -> Vec<&'a String> {
        let mut suspects = self.suspects.lock().unwrap_or_else(PoisonError::into_inner);
        suspects.retain(|_, since| since.elapsed() < SUSPICION);
        let mut ordered: Vec<&String> = addresses.iter().collect();
        ordered.sort_by_key(|address| suspects.get(*address).copied());
        ordered
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where one attempt of a control call ended.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) reach: Reach,
    pub(crate) error: AdminError,
}

/// How far a call got that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// No broker was reached, so nothing can have happened.
    Nobody,
    /// A broker was reached; the call may have taken effect.
    Broker,
}
