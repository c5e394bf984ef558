//! Replays history: from an offset, and from a point in time.
//!
//! `cargo run -p highwater-client --example replay -- 127.0.0.1:9094`, beside a `highwater dev`.

use std::time::Duration;

use highwater_client::{
    Client, ClientConfig, Consumer, ConsumerConfig, NewTopic, Offset, Position, ProducerConfig, Record,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    run(&std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9094".to_owned())).await
}

pub(crate) async fn run(bootstrap: &str) -> Outcome {
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    client.admin().create_topic(NewTopic::new("example-history")).await?;
    let producer = client.producer(ProducerConfig::default()).await?;
    let midnight_ms = 1_767_225_600_000; // 2026-01-01T00:00:00Z
    for minute in 0..60 {
        let value = format!("minute {minute}");
        let record = Record::new("example-history").value(&value).timestamp_ms(midnight_ms + minute * 60_000);
        drop(producer.send(record).await?);
    }
    producer.close().await?;

    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign("example-history", 0, Position::Offset(Offset(50))).await?;
    assert_eq!(read(&mut consumer, 10).await?, "minute 50");

    consumer.seek("example-history", 0, Position::Timestamp(midnight_ms + 30 * 60_000)).await?;
    assert_eq!(read(&mut consumer, 30).await?, "minute 30");

    consumer.seek("example-history", 0, Position::Beginning).await?;
    assert_eq!(read(&mut consumer, 60).await?, "minute 0");
    Ok(())
}

/// Reads `count` records batch by batch, and returns the first one's value.
async fn read(consumer: &mut Consumer, count: usize) -> Result<String, Box<dyn std::error::Error>> {
    let mut values = Vec::new();
    while values.len() < count {
        for record in consumer.poll(Duration::from_secs(5)).await?.iter() {
            values.push(String::from_utf8(record?.value.unwrap_or_default().to_vec())?);
        }
    }
    Ok(values.swap_remove(0))
}
