//! How a client reaches its cluster.

use std::time::Duration;

use crate::backoff::Backoff;
use crate::error::ConfigError;

/// How a [`Client`](crate::Client) reaches its cluster. Every field has a default that suits one machine or one
/// data centre; start from [`ClientConfig::new`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Brokers to ask first, as `host:port`; one that answers is enough. Names are resolved anew at every dial.
    pub bootstrap: Vec<String>,
    /// Shown in the brokers' logs.
    pub client_id: String,
    /// Longest wait for one TCP connection.
    pub connect_timeout: Duration,
    /// Longest wait for a control call, all its retries included, and for a produce request's answer.
    pub request_timeout: Duration,
    /// A silent connection is probed this often, and given up when no answer comes in as long again.
    pub keep_alive: Duration,
    /// First wait before a retry; doubles up to [`ClientConfig::retry_backoff_max`].
    pub retry_backoff: Duration,
    /// Longest wait between two retries.
    pub retry_backoff_max: Duration,
    /// Topics' partitions and leaders are asked for anew at this age even when nothing failed.
    pub metadata_max_age: Duration,
}

impl ClientConfig {
    /// The defaults, with these brokers to start from.
    pub fn new<S: Into<String>>(bootstrap: impl IntoIterator<Item = S>) -> ClientConfig {
        ClientConfig {
            bootstrap: bootstrap.into_iter().map(Into::into).collect(),
            client_id: "highwater-client".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            retry_backoff: Duration::from_millis(20),
            retry_backoff_max: Duration::from_millis(100),
            metadata_max_age: Duration::from_secs(300),
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff { first: self.retry_backoff, longest: self.retry_backoff_max }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.bootstrap.is_empty() {
            return Err(ConfigError {
                key: "bootstrap",
                problem: "names no broker".to_owned(),
                remedy: "give at least one host:port, such as 127.0.0.1:9094",
            });
        }
        for address in &self.bootstrap {
            let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port);
            if port.and_then(|p| p.parse::<u16>().ok()).is_none_or(|p| p == 0) {
                return Err(ConfigError {
                    key: "bootstrap",
                    problem: format!("{address:?} is not host:port"),
                    remedy: "write it like 127.0.0.1:9094 or broker-1.example:9094",
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_host_or_port_are_refused_by_name() {
        for bad in ["", "localhost", ":9094", "localhost:", "localhost:0", "localhost:99999"] {
            let error = ClientConfig::new([bad]).validate().expect_err("refused");
            assert_eq!(error.key, "bootstrap", "{bad}");
        }
        assert!(ClientConfig::new(Vec::<String>::new()).validate().is_err());
        assert!(ClientConfig::new(["localhost:9094", "[::1]:9094"]).validate().is_ok());
    }
}
