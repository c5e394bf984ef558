//! Sends a few records and waits for their acknowledgements.
//!
//! `cargo run -p highwater-client --example produce -- 127.0.0.1:9094`, beside a `highwater dev`.

use highwater_client::{Client, ClientConfig, Compression, NewTopic, ProducerConfig, Record};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    run(&std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9094".to_owned())).await
}

pub(crate) async fn run(bootstrap: &str) -> Outcome {
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    client.admin().create_topic(NewTopic::new("example-orders").partitions(3)).await?;

    let config = ProducerConfig { compression: Compression::Lz4, ..ProducerConfig::default() };
    let producer = client.producer(config).await?;

    // One at a time: send, then wait until it is durable.
    let delivery =
        producer.send(Record::new("example-orders").key("customer-7").value("first order")).await?;
    let written = delivery.await?;
    eprintln!("partition {} offset {:?}", written.partition, written.offset);

    // Many at once: `send` waits only when the buffer is full, and the deliveries are awaited together.
    let mut deliveries = Vec::new();
    for order in 0..1_000 {
        let (key, value) = (format!("customer-{}", order % 10), format!("order {order}"));
        deliveries.push(producer.send(Record::new("example-orders").key(&key).value(&value)).await?);
    }
    for delivery in deliveries {
        if let Err(error) = delivery.await {
            eprintln!("not written: {error}; worth another try: {}", error.is_retriable());
        }
    }
    producer.close().await?;
    Ok(())
}
