//! From the global options to a client, and from a topic's name to the topic or a suggestion.

use std::time::Duration;

use highwater_client::{Client, ClientConfig, TopicDescription};

use crate::args::Global;
use crate::exit::{CliError, CliResult, Exit};
use crate::suggest::nearest;

impl Global {
    /// A client of the brokers named.
    pub(crate) async fn connect(&self) -> CliResult<Client> {
        let mut config = ClientConfig::new(self.bootstrap.iter().map(|address| address.trim()));
        config.client_id = "highwater-cli".to_owned();
        config.request_timeout = Duration::from_millis(self.timeout_ms.max(1));
        config.connect_timeout = config.connect_timeout.min(config.request_timeout);
        Ok(Client::connect(config).await?)
    }
}

/// The topic, or an error that names the one that was probably meant.
pub(crate) async fn topic(client: &Client, name: &str) -> CliResult<TopicDescription> {
    match client.admin().describe_topic(name).await {
        Err(error) if error.is_not_found() => Err(no_such_topic(client, name).await),
        described => Ok(described?),
    }
}

/// Says that there is no such topic.
pub(crate) async fn no_such_topic(client: &Client, name: &str) -> CliError {
    let topics = client.admin().describe_cluster().await.map(|cluster| cluster.topics).unwrap_or_default();
    let error = CliError::new(Exit::NotFound, format!("there is no topic '{name}'"));
    match nearest(name, topics.iter().map(|(name, _)| name.as_str())) {
        Some(near) => error.hint(format!("did you mean '{near}'?")),
        None if topics.is_empty() => error.hint(format!("`highwater topic create {name}` makes it")),
        None => error.hint("`highwater topic list` shows those that exist"),
    }
}
