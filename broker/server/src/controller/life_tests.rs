//! A broker of which another process takes the number.

use std::time::Duration;

use highwater_core::metadata::{Command, Incarnation, LastStop, METADATA_VERSION, Outcome, Registration};

use crate::Broker;
use crate::config::BrokerConfig;

/// No condition takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker was killed while its registration was on its way, came back, and registered again. Then the first request
/// arrived: the process that ran was stale, led nothing, and waited for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_earlier_process_registers_late_ends_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let broker = Broker::start(BrokerConfig::ephemeral(directory.path())).await.unwrap();
    let services = broker.services();
    let (id, epoch) = (services.identity.id(), services.identity.epoch());
    let late = Registration {
        broker: id,
        incarnation: Incarnation([7; 16]),
        cluster: None,
        disk_id: services.partitions.directory().meta().disk_id.clone(),
        last_epoch: None,
        last_stop: LastStop::Unclean,
        endpoints: services.image().broker(id).unwrap().endpoints.clone(),
        rack: None,
        version: METADATA_VERSION,
    };
    // It is let in while the running one is fenced, as it is at first; that one asks to be unfenced at once.
    let displaced = async {
        loop {
            let register = Command::RegisterBroker { registration: late.clone() };
            let fence = services.control.submit(Command::Fence { broker: id, epoch }, PATIENCE);
            let (_, registered) = tokio::join!(fence, services.control.submit(register, PATIENCE));
            if let Ok(Outcome::Registered { epoch: by }) = registered {
                return by;
            }
        }
    };
    let by = tokio::time::timeout(PATIENCE, displaced).await.expect("it is let in");
    assert!(by > epoch);
    let why = tokio::time::timeout(PATIENCE, broker.failed()).await.expect("it ends");
    assert_eq!(
        why,
        format!(
            "another process registered as this broker, in epoch {by}; if none runs, start this one again"
        )
    );
    broker.stop().await.unwrap();
}
