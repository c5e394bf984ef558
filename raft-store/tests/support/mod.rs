//! A cluster in one process: nodes over simulated disks, a network in memory that can be cut, and a state machine that
//! keeps keys and values.
#![expect(clippy::unwrap_used, reason = "a test fails where it goes wrong")]
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::allow_attributes, reason = "whether the part is used differs between the tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use highwater_env::sim::SimDisk;
use highwater_raft_store::{
    BoxFuture, OpenedNode, RaftConfig, RaftNode, RaftStatus, StartError, StateMachine, Transport,
    TransportError,
};
use tokio::sync::watch;

/// No condition takes longer, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Keys and values; a payload is `key=value`, the reply the value before.
#[derive(Clone, Default)]
pub struct Keys {
    data: BTreeMap<String, String>,
    pub published: Arc<Mutex<(u64, BTreeMap<String, String>)>>,
}

impl StateMachine for Keys {
    fn apply(&mut self, _index: u64, payload: &[u8]) -> Vec<u8> {
        let text = std::str::from_utf8(payload).unwrap();
        let (key, value) = text.split_once('=').unwrap();
        self.data.insert(key.to_owned(), value.to_owned()).unwrap_or_default().into_bytes()
    }

    fn applied_up_to(&mut self, index: u64) {
        *self.published.lock().unwrap() = (index, self.data.clone());
    }

    fn snapshot(&self) -> Box<dyn FnOnce() -> Vec<u8> + Send> {
        let data = self.data.clone();
        Box::new(move || serde_json::to_vec(&data).unwrap())
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), String> {
        self.data = serde_json::from_slice(snapshot).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn digest(&self) -> u32 {
        self.data.iter().fold(0, |crc, (key, value)| {
            let crc = crc32c::crc32c_append(crc, key.as_bytes());
            crc32c::crc32c_append(crc32c::crc32c_append(crc, b"="), value.as_bytes())
        })
    }
}

/// The network: who is where, and who is cut off.
#[derive(Default)]
pub struct Net {
    nodes: Mutex<BTreeMap<u64, RaftNode>>,
    cut: Mutex<BTreeSet<u64>>,
    /// How often each node asked for pre-votes.
    pre_votes: watch::Sender<BTreeMap<u64, u64>>,
    /// How many pieces of snapshots each node was sent.
    snapshot_pieces: Mutex<BTreeMap<u64, u64>>,
    /// Requests over 10,000 bytes, and how long each takes.
    pub large: AtomicU64,
    pub large_takes: Mutex<Duration>,
}

impl Net {
    pub fn snapshot_pieces_to(&self, id: u64) -> u64 {
        self.snapshot_pieces.lock().unwrap().get(&id).copied().unwrap_or(0)
    }

    /// A node that says it leads and is ready.
    pub fn leader(&self) -> Option<RaftNode> {
        self.nodes.lock().unwrap().values().find(|node| node.status().borrow().is_leader).cloned()
    }
}

/// One node's way into the network.
struct Wire {
    net: Arc<Net>,
    from: u64,
}

impl Transport for Wire {
    fn call(
        &self,
        target: u64,
        _address: &str,
        request: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'_, Result<Bytes, TransportError>> {
        let unreachable = |reason: &str| TransportError::Unreachable { reason: reason.to_owned() };
        const PRE_VOTE: u8 = 3;
        const SNAPSHOT: u8 = 4;
        match request.get(1) {
            Some(&PRE_VOTE) => {
                self.net.pre_votes.send_modify(|asked| *asked.entry(self.from).or_default() += 1);
            }
            Some(&SNAPSHOT) => *self.net.snapshot_pieces.lock().unwrap().entry(target).or_default() += 1,
            _ => {}
        }
        Box::pin(async move {
            let is_cut = || {
                let cut = self.net.cut.lock().unwrap();
                cut.contains(&self.from) || cut.contains(&target)
            };
            let node = self.net.nodes.lock().unwrap().get(&target).cloned();
            if is_cut() {
                return Err(unreachable("cut"));
            }
            let node = node.ok_or_else(|| unreachable("down"))?;
            let delay = *self.net.large_takes.lock().unwrap();
            let answered = async {
                if request.len() > 10_000 {
                    self.net.large.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(delay).await;
                }
                node.handle(request).await
            };
            let answer = tokio::time::timeout(timeout, answered).await;
            // The way back is cut with the way there.
            if is_cut() {
                return Err(TransportError::Timeout);
            }
            answer.map_err(|_| TransportError::Timeout)
        })
    }
}

/// The members of a test.
pub struct Cluster {
    pub net: Arc<Net>,
    pub disks: BTreeMap<u64, Arc<SimDisk>>,
    pub nodes: BTreeMap<u64, RaftNode>,
    pub machines: BTreeMap<u64, Keys>,
    /// Whether silence makes nobody ask for votes.
    pub patient: bool,
    pub tune: fn(&mut RaftConfig),
}

pub fn address(id: u64) -> String {
    format!("node-{id}")
}

impl Cluster {
    pub fn new(tune: fn(&mut RaftConfig)) -> Cluster {
        Cluster {
            net: Arc::default(),
            disks: BTreeMap::new(),
            nodes: BTreeMap::new(),
            machines: BTreeMap::new(),
            patient: false,
            tune,
        }
    }

    /// A cluster with voters 1, 2, ... `count`, and a ready leader.
    pub async fn of(count: u64, tune: fn(&mut RaftConfig)) -> Cluster {
        let mut cluster = Cluster::new(tune);
        let voters: BTreeMap<u64, String> = (1..=count).map(|id| (id, address(id))).collect();
        for id in 1..=count {
            cluster.start(id).await.unwrap();
        }
        for node in cluster.nodes.values() {
            node.initialize(voters.clone()).await.unwrap();
        }
        cluster.leader().await;
        cluster
    }

    /// The same, led by node 1, where no silence makes anybody ask for votes but that of a node with settings of its own: the
    /// machine may be as busy as it likes. `tune` comes last.
    pub async fn steady(count: u64, tune: fn(&mut RaftConfig)) -> Cluster {
        let mut cluster = Cluster::new(tune);
        cluster.patient = true;
        let voters: BTreeMap<u64, String> = (1..=count).map(|id| (id, address(id))).collect();
        for id in 1..=count {
            cluster.start(id).await.unwrap();
        }
        cluster.nodes[&1].initialize(voters).await.unwrap();
        cluster.nodes[&1].trigger_election().await;
        until(&cluster.nodes[&1], "it leads", |status| status.is_leader).await;
        let index = cluster.put("steady", "1").await;
        cluster.converge(index).await;
        cluster
    }

    /// Starts a node on the disk it had before, or on a new one.
    pub async fn start(&mut self, id: u64) -> Result<RaftNode, StartError> {
        let machine = Keys::default();
        let node = self.start_with(id, machine.clone()).await?;
        self.machines.insert(id, machine);
        Ok(node)
    }

    /// Starts a node with a state machine of the test's own.
    pub async fn start_with(&mut self, id: u64, machine: impl StateMachine) -> Result<RaftNode, StartError> {
        let node = self.open(id).await?;
        self.start_opened(id, node, machine).await
    }

    /// Opens a node's disk, the one it had before or a new one.
    pub async fn open(&mut self, id: u64) -> Result<OpenedNode, StartError> {
        let disk =
            Arc::clone(self.disks.entry(id).or_insert_with(|| SimDisk::with_file_bytes_max(id, 8 << 20)));
        let mut config = RaftConfig::new(id, "test", PathBuf::from("/raft"));
        config.segment_bytes = 64 << 10;
        if self.patient {
            config.election_min = Duration::from_secs(3600);
            config.election_max = Duration::from_secs(7200);
        }
        (self.tune)(&mut config);
        OpenedNode::open(config, disk).await
    }

    /// Starts a node that was opened.
    pub async fn start_opened(
        &mut self,
        id: u64,
        node: OpenedNode,
        machine: impl StateMachine,
    ) -> Result<RaftNode, StartError> {
        let wire = Arc::new(Wire { net: Arc::clone(&self.net), from: id });
        let node = node.start(machine, wire).await?;
        self.net.nodes.lock().unwrap().insert(id, node.clone());
        self.nodes.insert(id, node.clone());
        Ok(node)
    }

    /// Stops a node; its disk stays.
    pub async fn stop(&mut self, id: u64) {
        self.net.nodes.lock().unwrap().remove(&id);
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    /// Cuts a node off from the others, both ways.
    pub fn isolate(&self, id: u64) {
        self.net.cut.lock().unwrap().insert(id);
    }

    /// Waits until a node asked for pre-votes this many times more.
    pub async fn asks_for_votes(&self, id: u64, times: u64) {
        let mut asked = self.net.pre_votes.subscribe();
        let of = |asked: &BTreeMap<u64, u64>| asked.get(&id).copied().unwrap_or(0);
        let enough = of(&asked.borrow()) + times;
        let reached = tokio::time::timeout(PATIENCE, asked.wait_for(|asked| of(asked) >= enough)).await;
        assert!(reached.is_ok_and(|reached| reached.is_ok()), "node {id} asks for votes");
    }

    pub fn heal(&self) {
        self.net.cut.lock().unwrap().clear();
    }

    /// Waits until a node that is not cut off leads and is ready.
    pub async fn leader(&self) -> RaftNode {
        let cut = self.net.cut.lock().unwrap().clone();
        let mut leading = tokio::task::JoinSet::new();
        for (_, node) in self.nodes.iter().filter(|(id, _)| !cut.contains(id)) {
            let node = node.clone();
            leading.spawn(async move {
                let leads = node.status().wait_for(|status| status.is_leader).await.is_ok();
                leads.then_some(node)
            });
        }
        let any = async {
            loop {
                let leads = leading.join_next().await.expect("one of them leads some day");
                if let Some(node) = leads.expect("waiting does not panic") {
                    return node;
                }
            }
        };
        tokio::time::timeout(PATIENCE, any).await.expect("somebody leads")
    }

    /// Proposes until it is accepted, wherever the leader is.
    pub async fn put(&self, key: &str, value: &str) -> u64 {
        let proposed = async {
            loop {
                let leader = self.leader().await;
                if let Ok(proposed) = leader.propose(format!("{key}={value}").into_bytes()).await {
                    return proposed.index;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, proposed).await.expect("a proposal is accepted")
    }

    /// Waits until all running nodes have applied `index`, then compares their digests at the same index.
    pub async fn converge(&self, index: u64) {
        for (id, node) in &self.nodes {
            let applied = tokio::time::timeout(PATIENCE, node.wait_applied(index)).await;
            assert!(applied.is_ok_and(|reached| reached), "node {id} applies {index}");
        }
        let equal = async {
            loop {
                let digests: BTreeSet<_> = self.nodes.values().map(RaftNode::digest).collect();
                let indexes: BTreeSet<_> = digests.iter().map(|(index, _)| *index).collect();
                if indexes.len() == 1 {
                    assert_eq!(digests.len(), 1, "equal index, equal digest: {digests:?}");
                    return;
                }
                // Whoever is behind the newest of them gets there; entries of the cluster's own may come in between.
                let newest = indexes.last().copied().flatten().expect("somebody has applied something");
                for (id, node) in &self.nodes {
                    assert!(node.wait_applied(newest).await, "node {id} applies {newest}");
                }
            }
        };
        tokio::time::timeout(PATIENCE, equal).await.expect("all nodes apply the same");
    }

    pub fn value(&self, id: u64, key: &str) -> Option<String> {
        self.machines[&id].published.lock().unwrap().1.get(key).cloned()
    }

    pub async fn shutdown(mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            self.stop(id).await;
        }
    }
}

/// Waits until a node's status is as wanted.
pub async fn until(node: &RaftNode, what: &str, wanted: impl Fn(&RaftStatus) -> bool) -> RaftStatus {
    let mut status = node.status();
    let reached = tokio::time::timeout(PATIENCE, status.wait_for(|now| wanted(now))).await;
    match reached {
        Ok(Ok(now)) => now.clone(),
        _ => panic!("{what} does not come about: {:?}", node.status().borrow().clone()),
    }
}
