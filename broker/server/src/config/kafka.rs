//! Where the Kafka protocol is spoken: `listener.kafka` and `advertised.kafka`, entry by entry.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::sources::ConfigError;
use super::values::Reader;

/// One entry of `listener.kafka`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaListener {
    /// Addresses to listen on. The first must be there; the others take its port and are left out where they are not.
    pub addresses: Vec<SocketAddr>,
    /// What clients are told; the address they reached us by unless set.
    pub advertised: Option<Advertised>,
    /// What to do when another program has the port.
    pub if_taken: IfTaken,
}

/// Where clients find a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// A name or an address.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What to do when another program has the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfTaken {
    /// Say so and do not start.
    Fail,
    /// Take a free one.
    AnyPort,
}

impl From<SocketAddr> for Advertised {
    fn from(address: SocketAddr) -> Advertised {
        Advertised { host: address.ip().to_string(), port: address.port() }
    }
}

impl KafkaListener {
    /// Reads one entry: an address and a port, or `localhost` and a port. `None`: neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<KafkaListener> {
        let addresses = match text.strip_prefix("localhost:") {
            Some(port) => {
                let port = port.parse().ok()?;
                vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]
            }
            None => vec![text.parse().ok()?],
        };
        Some(KafkaListener { addresses, advertised: None, if_taken: IfTaken::Fail })
    }
}

/// Reads both settings.
pub(super) fn listeners(reader: &Reader<'_>) -> Result<Vec<KafkaListener>, ConfigError> {
    let text = reader.text("listener.kafka");
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut listeners = Vec::new();
    for entry in text.split(',') {
        let listener = KafkaListener::parse(entry.trim()).ok_or_else(|| {
            let expected = "each entry must be an address and a port, such as 127.0.0.1:9092, [::1]:9092 or \
                            localhost:9092; write none for no listener";
            reader.illegal("listener.kafka", expected.to_owned())
        })?;
        listeners.push(listener);
    }
    let advertised = reader.text("advertised.kafka");
    if advertised.is_empty() {
        return Ok(listeners);
    }
    let illegal = |expected: String| reader.illegal("advertised.kafka", expected);
    let entries: Vec<&str> = advertised.split(',').map(str::trim).collect();
    if entries.len() != listeners.len() {
        return Err(illegal(format!(
            "listener.kafka has {} entries, so this needs as many",
            listeners.len()
        )));
    }
    for (listener, entry) in listeners.iter_mut().zip(entries) {
        if entry.is_empty() {
            continue;
        }
        let parsed = entry.rsplit_once(':').and_then(|(host, port)| {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            Some(Advertised { port: port.parse().ok().filter(|_| !host.is_empty())?, host })
        });
        listener.advertised =
            Some(parsed.ok_or_else(|| illegal("each entry must be host:port, or nothing".to_owned()))?);
    }
    Ok(listeners)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BrokerConfig, Sources};

    fn parse(listener: &str, advertised: &str) -> Result<Vec<KafkaListener>, String> {
        let mut sources = Sources::new();
        for (name, value) in
            [("data.dir", "/d"), ("listener.kafka", listener), ("advertised.kafka", advertised)]
        {
            sources.set(name, value, "a test").map_err(|error| error.to_string())?;
        }
        let config = BrokerConfig::from_sources(&sources).map_err(|error| error.to_string())?;
        Ok(config.kafka)
    }

    #[test]
    fn each_listener_has_its_own_advertised_address() {
        let listeners =
            parse("localhost:9092, [::1]:9192,127.0.0.1:0", ", broker.example:19092,[fd00::1]:5").unwrap();
        assert_eq!(listeners[0].addresses.len(), 2);
        assert_eq!(listeners[0].advertised, None);
        let told = |at: usize| listeners[at].advertised.clone().map(|told| (told.host, told.port));
        assert_eq!(told(1), Some(("broker.example".to_owned(), 19092)));
        assert_eq!(told(2), Some(("fd00::1".to_owned(), 5)));
        assert_eq!(parse("none", "").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_said() {
        for (listener, advertised, part) in [
            ("9092", "", "each entry must be an address and a port"),
            ("localhost:9092,", "", "each entry must be an address and a port"),
            ("localhost:9092", "a:1,b:2", "listener.kafka has 1 entries"),
            ("localhost:9092", "a", "each entry must be host:port"),
            ("0.0.0.0:9092", "", "security.allow.plaintext=true"),
        ] {
            let error = parse(listener, advertised).expect_err(listener);
            assert!(error.contains(part), "{listener} {advertised}: {error}");
        }
    }
}
