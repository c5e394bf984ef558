//! Reads a topic from its beginning as an async stream.
//!
//! `cargo run -p highwater-client --example consume -- 127.0.0.1:9094`, after the example `produce`.

use futures_util::StreamExt;
use highwater_client::{Client, ClientConfig, ConsumerConfig, Position};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    run(&std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9094".to_owned())).await
}

pub(crate) async fn run(bootstrap: &str) -> Outcome {
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    let mut consumer = client.consumer(ConsumerConfig::default());
    consumer.assign_all("example-orders", Position::Beginning).await?;

    let mut orders_of_seven = 0;
    let mut records = consumer.stream().take(1_001);
    while let Some(record) = records.next().await {
        // An error does not end the stream: the next item tries again from the same place.
        let record = record?;
        if record.key.as_deref() == Some(b"customer-7") {
            orders_of_seven += 1;
        }
    }
    assert_eq!(orders_of_seven, 101);
    Ok(())
}
