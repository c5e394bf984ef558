//! This broker as a member of its cluster, put together in the order in which the parts need each other: identity, data,
//! Raft, controller, peers; then it registers, takes up its partitions and is let in.

use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::{Command, Endpoints, LastStop};
use highwater_env::Clock;
use highwater_log::LastShutdown;
use highwater_proto::{BrokerEpoch, BrokerId, TopicPartition};
use highwater_raft_store::{OpenedNode, RaftConfig, RaftNode};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::broker::{Environment, StartError};
use crate::config::BrokerConfig;
use crate::controller::duties::{Duties, duty};
use crate::controller::joining;
use crate::controller::life::{self, Life};
use crate::controller::{
    Admission, BrokerService, Control, Decider, Doorway, LifeFailure, Own, PeerTransport, SubmitError,
    Timing, forget_late, in_sync, may_start, probe_when_leading,
};
use crate::metadata::MetadataStore;
use crate::metrics::Metrics;
use crate::partition::PartitionTable;
use crate::peer::{self, Identity, Peers};
use crate::replication::Following;
use crate::service::{ProducerIds, Services};

/// Where Raft keeps its log, in the data directory.
const RAFT_DIRECTORY: &str = "raft";
/// The last word of a broker that stops waits no longer than this for the controller.
const STEP_BACK_WAIT: Duration = Duration::from_secs(3);
/// One attempt to report lost logs.
const REPORT_WAIT: Duration = Duration::from_secs(5);

/// A member of a cluster, perhaps the only one.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) services: Arc<Services>,
    displaced: Displaced,
}

/// The epoch of another process that has this broker's id now.
type Displaced = watch::Receiver<Option<BrokerEpoch>>;

/// Starts everything but the listeners for clients. Returns when the broker may serve.
///
/// # Errors
/// [`StartError`].
pub(crate) async fn start(
    environment: Environment,
    config: BrokerConfig,
    listener: TcpListener,
    endpoints: Endpoints,
    stop: CancellationToken,
) -> Result<Member, StartError> {
    let (config, identity) = identify(&environment, config, &stop).await?;
    let (store, machine) = MetadataStore::new();
    let (partitions, past) = open(&environment, &config, &store, &identity).await?;
    let peers = Peers::new(Arc::clone(&identity));
    let disk_id = partitions.directory().meta().disk_id.clone();
    let opened = open_raft(&environment, &config).await?;
    let doorway = Doorway::closed(opened.last_log_index());
    tokio::spawn(peer::serve(listener, Arc::clone(&identity), doorway.clone(), stop.clone()));
    let known = (disk_id.clone(), past.0);
    let (opened, admission) = be_admitted(&environment, &config, &peers, opened, known, &stop).await?;
    let raft = opened.start(machine, Arc::new(PeerTransport(Arc::clone(&peers)))).await?;
    if let Some(known) = store.image().cluster() {
        // From here on brokers of another cluster of the same name are refused, and refuse.
        identity.set_cluster_id(&known.id.to_string());
    }
    let cluster = &config.cluster;
    let timing = Timing { heartbeat: cluster.heartbeat_interval, session: cluster.session_timeout };
    let Environment { disk, clock, random } = environment;
    let seams = (Arc::clone(&clock), Arc::clone(&random));
    let decider =
        Decider::start(raft.clone(), store.clone(), Arc::clone(&config), seams, timing, stop.clone());
    let control = Control::new(raft.clone(), decider, peers);
    let services = Arc::new(Services {
        config: Arc::clone(&config),
        metadata: store.clone(),
        control: control.clone(),
        identity: Arc::clone(&identity),
        metrics: Arc::clone(&partitions.surroundings().metrics),
        partitions,
        producer_ids: ProducerIds::default(),
        clock: Arc::clone(&clock),
    });
    let watched = Arc::downgrade(&services);
    tokio::spawn(probe_when_leading(watched, control.clone(), stop.clone()));
    doorway.open(BrokerService { control: control.clone(), services: Arc::downgrade(&services) });
    found_or_join(&raft, &config, &identity, admission, &endpoints, &stop).await?;
    let registration =
        life::registration(config.broker_id, disk_id, past, endpoints, cluster.rack.clone(), &*random);
    let mut life = Life {
        control: control.clone(),
        store: store.clone(),
        identity: Arc::clone(&identity),
        lease: Arc::clone(&services.partitions.surroundings().lease),
        clock: Arc::clone(&clock),
        disk,
        data_dir: config.data_dir.clone(),
        timing,
        registration,
    };
    life.register(&*random, &stop).await?;
    if let Admission::Late(index) = admission
        && raft.wait_applied(index).await
    {
        forget_late(&*life.disk, &life.data_dir)?;
    }
    let displaced = take_part(&services, clock, life, stop).await?;
    Ok(Member { services, displaced })
}

/// Asks the others whether this broker may start from its directory, which knows this of itself.
async fn be_admitted(
    environment: &Environment,
    config: &BrokerConfig,
    peers: &Peers,
    mut opened: OpenedNode,
    (disk_id, last_epoch): (String, Option<BrokerEpoch>),
    stop: &CancellationToken,
) -> Result<(OpenedNode, Admission), StartError> {
    let own = Own {
        id: config.broker_id,
        data_dir: config.data_dir.clone(),
        disk_id,
        last_epoch,
        log_end: opened.last_log_index(),
        joins: !config.cluster.join.is_empty(),
    };
    let seams = (&*environment.disk, &*environment.clock);
    let admission = may_start(&own, &config.cluster, peers, seams, stop).await?;
    if let Admission::Late(index) = admission {
        opened.withhold_votes_until(index);
    }
    Ok((opened, admission))
}

/// A new node of Raft has its cluster founded, or asks to be told about it. One that came late is told without asking.
async fn found_or_join(
    raft: &RaftNode,
    config: &BrokerConfig,
    identity: &Identity,
    admission: Admission,
    endpoints: &Endpoints,
    stop: &CancellationToken,
) -> Result<(), StartError> {
    let cluster = &config.cluster;
    if raft.is_initialized().await || matches!(admission, Admission::Late(_)) {
        return Ok(());
    }
    if !cluster.join.is_empty() {
        joining::be_told(identity, &cluster.join, endpoints.peer.clone(), stop).await?;
    } else {
        let mut voters = cluster.voters.clone();
        voters.entry(config.broker_id).or_insert_with(|| endpoints.peer.clone());
        let voters = voters.into_iter().map(|(id, address)| (id.0 as u64, address));
        raft.initialize(voters.collect()).await?;
    }
    Ok(())
}

/// Who this broker is: what its configuration says, or, if it joins, what it was given before or is given now.
async fn identify(
    environment: &Environment,
    mut config: BrokerConfig,
    stop: &CancellationToken,
) -> Result<(Arc<BrokerConfig>, Arc<Identity>), StartError> {
    if config.cluster.join.is_empty() {
        let identity = Identity::new(config.cluster_name.clone(), config.broker_id);
        return Ok((Arc::new(config), identity));
    }
    let read = |error| StartError::Read { path: config.data_dir.clone(), error };
    let known = joining::id_on_disk(&*environment.disk, &config.data_dir).map_err(read)?;
    let identity = Identity::new(config.cluster_name.clone(), BrokerId(-1));
    config.broker_id = match known {
        Some(id) => id,
        None => joining::take_id(&identity, &config.cluster.join, stop).await?,
    };
    identity.set_id(config.broker_id);
    tracing::info!(id = %config.broker_id, "this broker's number in the cluster");
    Ok((Arc::new(config), identity))
}

/// Takes up the partitions, and waits until the broker is let in.
async fn take_part(
    services: &Arc<Services>,
    clock: Arc<dyn Clock>,
    life: Life,
    stop: CancellationToken,
) -> Result<Displaced, StartError> {
    let image_of = services.metadata.clone();
    let address = move |id: BrokerId| Some(image_of.image().broker(id)?.endpoints.peer.clone());
    let identity = Arc::clone(&services.identity);
    let following = Following::new(Arc::clone(&identity), clock, Arc::new(address), stop.clone());
    let mut duties = Duties::new(services, Arc::new(following));
    duties.carry_out().await;
    services.partitions.report_strays(&services.image());
    report_losses(services).await?;
    let mut carried = duties.carried();
    tokio::spawn(duties.run(stop.clone()));
    let attention = Arc::clone(&services.partitions.surroundings().attention);
    let (control, store) = (services.control.clone(), services.metadata.clone());
    tokio::spawn(in_sync::keep(attention, control, store, identity, stop.clone()));
    let (serving, served) = oneshot::channel();
    let (end, mut displaced) = watch::channel(None);
    let keeping = life.keep(serving, carried.clone(), stop);
    tokio::spawn(async move { end.send_replace(keeping.await) });
    if served.await.is_err() {
        return Err(ended(&mut displaced).await.into());
    }
    // What it leads now that it was let in, it leads when the first client comes.
    let newest = *services.metadata.applied().borrow();
    carried.wait_for(|carried| *carried >= newest).await.map_err(|_| LifeFailure::Stopped)?;
    Ok(displaced)
}

/// Waits until this broker's life ends, and says by what.
async fn ended(displaced: &mut Displaced) -> LifeFailure {
    match displaced.wait_for(Option::is_some).await.map(|by| *by) {
        Ok(Some(epoch)) => LifeFailure::Displaced { epoch },
        Ok(None) | Err(_) => LifeFailure::Stopped,
    }
}

/// Before it is let in, the broker says which of its logs lost what they had flushed, so that none of them is elected (I20).
async fn report_losses(services: &Arc<Services>) -> Result<(), StartError> {
    let image = services.image();
    let shared = |id: &TopicPartition| image.partition(*id).is_some_and(|known| known.replicas.len() > 1);
    let damaged = services.partitions.all().into_iter().filter(|partition| partition.is_damaged());
    let partitions: Vec<TopicPartition> = damaged.map(|partition| partition.id()).filter(shared).collect();
    if partitions.is_empty() {
        return Ok(());
    }
    tracing::error!(?partitions, "logs lost what they had flushed; their other replicas lead");
    let (broker, epoch) = (services.identity.id(), services.identity.epoch());
    loop {
        let report = Command::ReportUnclean { broker, epoch, partitions: partitions.clone() };
        match services.control.submit(report, REPORT_WAIT).await {
            Ok(_) => return Ok(()),
            Err(SubmitError::Refused(refusal)) => return Err(LifeFailure::Refused(refusal).into()),
            Err(error) => tracing::warn!(%error, "lost logs could not be reported yet"),
        }
    }
}

type Past = (Option<BrokerEpoch>, LastStop);

/// Opens the data directory, and reads what it says of the broker's last life.
async fn open(
    environment: &Environment,
    config: &Arc<BrokerConfig>,
    store: &MetadataStore,
    identity: &Arc<Identity>,
) -> Result<(Arc<PartitionTable>, Past), StartError> {
    let (environment, config) = (environment.clone(), Arc::clone(config));
    let (store, identity) = (store.clone(), Arc::clone(identity));
    let opening = move || {
        let duty_of = Box::new(move |id| duty(&store.image(), &identity, id));
        let metrics = Arc::new(Metrics::new());
        let partitions = PartitionTable::open(&environment, &config, &metrics, duty_of)?;
        let last_epoch = life::read_epoch(&*environment.disk, &config.data_dir)
            .map_err(|error| StartError::Read { path: config.data_dir.join("broker.epoch"), error })?;
        let last_stop = match partitions.directory().last_shutdown() {
            LastShutdown::Clean => LastStop::Clean,
            LastShutdown::Unclean => LastStop::Unclean,
        };
        Ok((Arc::new(partitions), (last_epoch, last_stop)))
    };
    tokio::task::spawn_blocking(opening).await.expect("opening does not panic")
}

async fn open_raft(environment: &Environment, config: &BrokerConfig) -> Result<OpenedNode, StartError> {
    let id = u64::try_from(config.broker_id.0).unwrap_or(0);
    let raft = RaftConfig::new(id, config.cluster_name.clone(), config.data_dir.join(RAFT_DIRECTORY));
    Ok(OpenedNode::open(raft, Arc::clone(&environment.disk)).await?)
}

impl Member {
    /// Waits until the broker cannot go on as a member of its cluster, and says why: a disk that fails under Raft, say, or
    /// another process that has its id now.
    pub(crate) async fn failed(&self) -> String {
        let mut status = self.services.control.raft().status();
        let raft_failed = async {
            match status.wait_for(|status| status.failure.is_some()).await {
                Ok(status) => status.failure.clone().unwrap_or_default(),
                Err(_) => "the Raft node ended".to_owned(),
            }
        };
        let mut displaced = self.displaced.clone();
        let displaced = async {
            match ended(&mut displaced).await {
                // It was told to: that is no failure.
                LifeFailure::Stopped => std::future::pending().await,
                failure => failure.to_string(),
            }
        };
        tokio::select! {
            why = raft_failed => why,
            why = displaced => why,
        }
    }

    /// Lets others lead what this broker leads, partitions and Raft alike.
    pub(crate) async fn step_back(&self, patience: Duration) {
        let services = &self.services;
        if services.image().brokers().count() < 2 {
            return;
        }
        services.partitions.surroundings().lease.give_up();
        let (broker, epoch) = (services.identity.id(), services.identity.epoch());
        let command = Command::ControlledShutdown { broker, epoch };
        match services.control.submit(command, patience.min(STEP_BACK_WAIT)).await {
            Ok(outcome) => tracing::info!(?outcome, "others lead now"),
            Err(error) => {
                tracing::warn!(%error, "could not hand leadership over; others will miss this broker")
            }
        }
        let status = services.control.status();
        let next = status.voters.keys().filter(|id| **id != status.id);
        let next = next.max_by_key(|id| status.replication.get(id).copied().flatten());
        if let Some(next) = next.copied().filter(|_| status.is_leader) {
            let _ = services.control.raft().transfer_leader(next).await;
        }
    }
}
