//! Creates, inspects, alters and deletes a topic.
//!
//! `cargo run -p highwater-client --example admin -- 127.0.0.1:9094`, beside a `highwater dev`.

use highwater_client::{
    Client, ClientConfig, ErrorCode, NewTopic, Offset, PartitionIndex, Position, ProducerConfig, Record,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    run(&std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9094".to_owned())).await
}

pub(crate) async fn run(bootstrap: &str) -> Outcome {
    let client = Client::connect(ClientConfig::new([bootstrap])).await?;
    let admin = client.admin();
    let topic = NewTopic::new("example-admin").partitions(2).config("retention.ms", "86400000");
    admin.create_topic(topic.clone()).await?;
    let again = admin.create_topic(topic).await.expect_err("the name is taken");
    assert_eq!(again.code(), Some(ErrorCode::TopicAlreadyExists));

    let producer = client.producer(ProducerConfig::default()).await?;
    for _ in 0..10 {
        producer.send(Record::new("example-admin").partition(0).value("x")).await?.await?;
    }
    assert_eq!(admin.list_offsets("example-admin", Position::End).await?, [Offset(10), Offset(0)]);
    let start = admin.delete_records("example-admin", PartitionIndex(0), Some(Offset(4))).await?;
    assert_eq!(start, Offset(4));

    admin.alter_topic("example-admin", &[("retention.ms".to_owned(), "3600000".to_owned())], &[]).await?;
    admin.add_partitions("example-admin", 3).await?;
    let described = admin.describe_topic("example-admin").await?;
    assert_eq!(described.partitions.len(), 3);
    assert!(described.configs.iter().any(|c| c.name == "retention.ms" && c.value == "3600000"));

    admin.delete_topic("example-admin").await?;
    assert!(admin.describe_topic("example-admin").await.expect_err("it is gone").is_not_found());
    Ok(())
}
