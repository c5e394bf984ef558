//! Many partitions at once, over one client.
//!
//! ```text
//! partitions create   --addr A --prefix T --topics 1000 --partitions 10   makes the topics one after the other
//! partitions describe --addr A                                            asks for all of them with all they have
//! partitions fill     --addr A                                            sends one record to each partition
//! partitions fetch    --addr A --topic T                                  until every partition has given a batch
//! ```
//! Prints what it did and the milliseconds from the first call to the last answer as JSON.

#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(clippy::print_stdout, reason = "the result goes there")]

use std::collections::HashSet;
use std::error::Error;
use std::time::{Duration, Instant};

use highwater_benches::flags::Flags;
use highwater_client::{
    Client, ClientConfig, ConsumerConfig, NewTopic, Position, ProducerConfig, Record, TopicDescription,
};

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    let flags = Flags::from_args(1);
    let client = Client::connect(ClientConfig::new([flags.text("addr")])).await?;
    let began = Instant::now();
    let count = match mode.as_str() {
        "create" => create(&client, &flags).await?,
        "describe" => describe(&client).await?.iter().map(|topic| topic.partitions.len()).sum(),
        "fill" => fill(&client).await?,
        "fetch" => fetch(&client, flags.text("topic")).await?,
        _ => return Err("usage: partitions create|describe|fill|fetch --addr HOST:PORT ...".into()),
    };
    println!("{{\"partitions\": {count}, \"ms\": {:.1}}}", began.elapsed().as_secs_f64() * 1e3);
    Ok(())
}

async fn create(client: &Client, flags: &Flags) -> Result<usize, Failure> {
    let (topics, partitions) = (flags.get("topics", 1), flags.get("partitions", 1));
    for number in 0..topics {
        let topic = NewTopic::new(format!("{}-{number}", flags.text("prefix"))).partitions(partitions);
        client.admin().create_topic(topic).await?;
    }
    Ok(topics * usize::try_from(partitions)?)
}

async fn describe(client: &Client) -> Result<Vec<TopicDescription>, Failure> {
    Ok(client.admin().describe_topics().await?)
}

/// The acknowledgements are awaited together.
async fn fill(client: &Client) -> Result<usize, Failure> {
    let topics = describe(client).await?;
    let config = ProducerConfig { delivery_timeout: Duration::from_secs(30), ..ProducerConfig::default() };
    let producer = client.producer(config).await?;
    let mut deliveries = Vec::new();
    for topic in &topics {
        for partition in &topic.partitions {
            let record = Record::new(&topic.name).value(b"one").partition(partition.partition.0);
            deliveries.push(producer.send(record).await?);
        }
    }
    let count = deliveries.len();
    for delivery in deliveries {
        delivery.await?;
    }
    producer.close().await?;
    Ok(count)
}

async fn fetch(client: &Client, topic: &str) -> Result<usize, Failure> {
    let config = ConsumerConfig { fetch_max_bytes: 1 << 20, prefetch_bytes: 4 << 20, ..Default::default() };
    let mut consumer = client.consumer(config);
    consumer.assign_all(topic, Position::Beginning).await?;
    let all = client.admin().list_offsets(topic, Position::Beginning).await?.len();
    let mut seen = HashSet::new();
    while seen.len() < all {
        let records = consumer.poll(Duration::from_secs(60)).await?;
        if records.is_empty() {
            return Err(format!("nothing came for a minute; {} of {all} partitions gave", seen.len()).into());
        }
        for batch in records.batches() {
            // One batch is enough: whoever has given makes room for the others.
            if seen.insert(batch.partition()) {
                consumer.pause(topic, batch.partition().0)?;
            }
        }
    }
    Ok(all)
}
