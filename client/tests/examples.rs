//! The examples, run as they stand against an embedded broker.

#[expect(dead_code, reason = "an example's own main is not called here")]
#[path = "../examples/admin.rs"]
mod admin;
#[expect(dead_code, reason = "an example's own main is not called here")]
#[path = "../examples/consume.rs"]
mod consume;
#[expect(dead_code, reason = "an example's own main is not called here")]
#[path = "../examples/produce.rs"]
mod produce;
#[expect(dead_code, reason = "an example's own main is not called here")]
#[path = "../examples/replay.rs"]
mod replay;

use highwater_server::{Broker, BrokerConfig};

#[tokio::test(flavor = "multi_thread")]
async fn every_example_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(folder.path())).await.unwrap();
    let address = broker.grpc_addr().to_string();
    produce::run(&address).await.unwrap();
    consume::run(&address).await.unwrap();
    replay::run(&address).await.unwrap();
    admin::run(&address).await.unwrap();
    broker.stop().await.unwrap();
}
