//! Brokers that call each other over loopback.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use highwater_proto::BrokerId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::hello::DialError;
use super::{CallError, Hello, Identity, Kind, PeerService, Peers, Purpose, dial, serve};

const PATIENCE: Duration = Duration::from_secs(5);

/// Says back what it is told; "wait" is never answered.
struct Echo {
    /// Who has left.
    left: mpsc::UnboundedSender<Option<i32>>,
}

impl PeerService for Echo {
    fn call(&self, from: &Hello, kind: Kind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let from = from.from;
        Box::pin(async move {
            match &body[..] {
                b"wait" => std::future::pending().await,
                b"fail" => Err("no".to_owned()),
                _ => Ok(format!("{from:?} {kind:?} {}", String::from_utf8_lossy(&body)).into()),
            }
        })
    }

    fn left(&self, from: &Hello) {
        let _ = self.left.send(from.from);
    }

    fn feed(&self, _: Hello, _: TcpStream) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

async fn broker(id: i32, cluster: &str) -> (String, Arc<Identity>, CancellationToken) {
    let (address, identity, stop, _) = watched_broker(id, cluster).await;
    (address, identity, stop)
}

type Left = mpsc::UnboundedReceiver<Option<i32>>;

async fn watched_broker(id: i32, cluster: &str) -> (String, Arc<Identity>, CancellationToken, Left) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let identity = Identity::new(cluster.to_owned(), BrokerId(id));
    let stop = CancellationToken::new();
    let (left, leaving) = mpsc::unbounded_channel();
    tokio::spawn(serve(listener, Arc::clone(&identity), Arc::new(Echo { left }), stop.clone()));
    (address, identity, stop, leaving)
}

fn caller(id: i32, cluster: &str) -> Arc<Peers> {
    Peers::new(Identity::new(cluster.to_owned(), BrokerId(id)))
}

#[tokio::test]
async fn calls_are_answered_each_on_its_own() {
    let (address, _, _stop) = broker(2, "one").await;
    let peers = caller(1, "one");
    let call =
        |body: &'static [u8], patience| peers.call(BrokerId(2), &address, Kind::Control, body, patience);
    let (stuck, said, failed) = tokio::join!(
        call(b"wait", Duration::from_millis(200)),
        call(b"hello", PATIENCE),
        call(b"fail", PATIENCE)
    );
    assert_eq!(said.unwrap(), "Some(1) Control hello");
    assert!(matches!(failed, Err(CallError::Refused { reason, .. }) if reason == "no"));
    assert!(matches!(stuck, Err(CallError::TimedOut { .. })));
    assert_eq!(call(b"again", PATIENCE).await.unwrap(), "Some(1) Control again", "on a fresh connection");
}

#[tokio::test]
async fn the_wrong_broker_the_wrong_cluster_and_oneself_are_refused_in_words() {
    let (address, identity, _stop) = broker(2, "one").await;
    identity.set_cluster_id("here");
    let foreign = caller(1, "one");
    foreign.identity().set_cluster_id("elsewhere");
    let cases = [
        (caller(1, "other"), 2, "not 'other' (cluster.name)"),
        (foreign, 2, "two clusters of one name"),
        (caller(1, "one"), 3, "broker 3 was meant"),
        (caller(2, "one"), 2, "both are broker 2"),
    ];
    for (peers, to, part) in cases {
        let refused = peers.call(BrokerId(to), &address, Kind::Raft, b"x", PATIENCE).await;
        let Err(CallError::Dial(DialError::Refused { reason, .. })) = refused else { panic!("{refused:?}") };
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn a_process_that_is_gone_is_told_from_one_that_is_slow() {
    let (address, _, stop) = broker(2, "one").await;
    let peers = caller(1, "one");
    assert!(peers.call(BrokerId(2), &address, Kind::Raft, b"x", PATIENCE).await.is_ok());
    stop.cancel();
    let gone = loop {
        match peers.call(BrokerId(2), &address, Kind::Raft, b"x", PATIENCE).await {
            Err(CallError::Dial(error)) => break error,
            Ok(_) | Err(CallError::Broken { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    assert!(matches!(gone, DialError::Nobody { .. }), "{gone}");
}

/// Two brokers that each looked whether the other one was there, because it had just left after a look, did so for ever.
#[tokio::test]
async fn who_only_looked_whether_somebody_is_there_has_not_left() {
    let (address, _, _stop, mut left) = watched_broker(2, "one").await;
    let looker = Identity::new("one".to_owned(), BrokerId(1));
    let looked = dial(&looker, Purpose::Control, Some(BrokerId(2)), &address, PATIENCE).await;
    drop(looked.unwrap());
    let peers = caller(3, "one");
    assert!(peers.call(BrokerId(2), &address, Kind::Raft, b"x", PATIENCE).await.is_ok());
    drop(peers);
    assert_eq!(left.recv().await, Some(Some(3)));
}

#[tokio::test]
async fn strangers_are_not_answered() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (address, _, _stop) = broker(2, "one").await;
    let mut stream = TcpStream::connect(&address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}
