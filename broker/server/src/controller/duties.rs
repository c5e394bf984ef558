//! Gives this broker's partitions their parts, as the newest image says.
//!
//! What is told is the newest state, not each change on the way (M-62). Only topics that changed are looked at.

use std::collections::HashMap;
use std::sync::Arc;

use highwater_core::metadata::{Image, Topic};
use highwater_proto::{BrokerId, TopicId, TopicPartition};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::partition::{Duty, Partition};
use crate::peer::Identity;
use crate::replication::Following;
use crate::service::Services;

/// Partitions that are opened at a time when this broker comes to hold them.
const OPENINGS_MAX: usize = 8;

/// What the image says of a partition on this broker: nothing before this life is registered.
pub(crate) fn duty(image: &Image, identity: &Identity, id: TopicPartition) -> Option<Duty> {
    let (broker, epoch) = (identity.id(), identity.epoch());
    let partition = image.partition(id).filter(|partition| partition.replicas.contains(&broker))?;
    let registered = image.broker(broker).filter(|registered| registered.epoch == epoch)?;
    let min_insync_replicas = image.topic(id.topic)?.min_insync_replicas();
    Some(Duty::of(partition, min_insync_replicas, (broker, registered.epoch)))
}

/// What was carried out last.
pub(crate) struct Duties {
    services: Arc<Services>,
    following: Arc<Following>,
    known: HashMap<TopicId, Arc<Topic>>,
    /// Whether this life was registered then.
    registered: bool,
    /// The index up to which images were carried out.
    carried: watch::Sender<u64>,
}

impl Duties {
    pub(crate) fn new(services: &Arc<Services>, following: Arc<Following>) -> Duties {
        let (known, carried) = (HashMap::new(), watch::Sender::new(0));
        Duties { services: Arc::clone(services), following, known, registered: false, carried }
    }

    /// Says up to which index images were carried out.
    pub(crate) fn carried(&self) -> watch::Receiver<u64> {
        self.carried.subscribe()
    }

    /// Carries out every new image until told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut applied = self.services.metadata.applied();
        // Something may have come before this task listened.
        self.carry_out().await;
        loop {
            tokio::select! {
                changed = applied.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            applied.borrow_and_update();
            self.carry_out().await;
        }
    }

    /// Carries out the newest image.
    pub(crate) async fn carry_out(&mut self) {
        let newest = *self.services.metadata.applied().borrow();
        let image = self.services.metadata.image();
        let identity = &self.services.identity;
        if let Some(cluster) = image.cluster() {
            identity.set_cluster_id(&cluster.id.to_string());
        }
        let own = image.broker(identity.id());
        let registered = own.is_some_and(|own| own.epoch == identity.epoch());
        if registered != std::mem::replace(&mut self.registered, registered) {
            self.known.clear();
        }
        let mut gone: Vec<Arc<Topic>> = Vec::new();
        self.known.retain(|id, topic| {
            let stays = image.topic(*id).is_some();
            if !stays {
                gone.push(Arc::clone(topic));
            }
            stays
        });
        let (mut to_open, mut to_remove) = (Vec::new(), Vec::new());
        for topic in image.topics() {
            let Some(topic) = image.topic_shared(topic.id) else { continue };
            let before = self.known.insert(topic.id, Arc::clone(topic));
            if before.as_ref().is_some_and(|before| Arc::ptr_eq(before, topic)) {
                continue;
            }
            self.look_at(&image, topic, before.as_deref(), (&mut to_open, &mut to_remove));
        }
        // Before the next image is looked at: what goes may come back with it.
        to_remove.extend(gone.iter().flat_map(|topic| topic.partition_ids()));
        self.remove(to_remove).await;
        self.open(to_open).await;
        self.carried.send_replace(newest);
    }

    /// A topic is new or has changed.
    fn look_at(
        &self,
        image: &Image,
        topic: &Topic,
        before: Option<&Topic>,
        (to_open, to_remove): (&mut Vec<TopicPartition>, &mut Vec<TopicPartition>),
    ) {
        let (services, broker) = (&self.services, self.services.identity.id());
        if before.is_some_and(|before| before.configs != topic.configs) {
            let settings = services.settings_of(topic);
            services.partitions.update_settings(topic.partition_ids(), &settings);
        }
        for (id, partition) in topic.partition_ids().zip(&topic.partitions) {
            if !partition.replicas.contains(&broker) {
                let held = before.and_then(|before| before.partitions.get(id.partition.0 as usize));
                if held.is_some_and(|held| held.replicas.contains(&broker)) {
                    tracing::info!(partition = %id, "this broker holds the partition no longer");
                    to_remove.push(id);
                }
                continue;
            }
            match services.partitions.get(id) {
                Some(open) => self.assign(image, &open),
                // A sole replica opens when it is asked for; one of several has to follow or to be followed.
                None if partition.replicas.len() > 1 => to_open.push(id),
                None => {}
            }
        }
    }

    fn assign(&self, image: &Image, partition: &Arc<Partition>) {
        let Some(duty) = duty(image, &self.services.identity, partition.id()) else { return };
        let leader = duty.leader;
        partition.assign(duty);
        self.connect(leader, partition);
    }

    fn connect(&self, leader: Option<BrokerId>, partition: &Arc<Partition>) {
        match leader {
            Some(leader) if leader != self.services.identity.id() => {
                self.following.follow(leader, Arc::clone(partition));
            }
            _ => self.following.forget(partition.id()),
        }
    }

    async fn open(&self, ids: Vec<TopicPartition>) {
        use futures_util::{StreamExt, stream};
        let opening = stream::iter(ids).map(async |id| (id, self.services.partition(id).await));
        let mut opened = opening.buffer_unordered(OPENINGS_MAX);
        while let Some((id, partition)) = opened.next().await {
            match partition {
                Ok(partition) => self.assign(&self.services.metadata.image(), &partition),
                Err(error) => tracing::error!(partition = %id, %error, "a replica does not open"),
            }
        }
    }

    async fn remove(&self, ids: Vec<TopicPartition>) {
        if ids.is_empty() {
            return;
        }
        for id in &ids {
            self.following.forget(*id);
        }
        let partitions = Arc::clone(&self.services.partitions);
        let work = move || partitions.remove(ids.into_iter());
        tokio::task::spawn_blocking(work).await.expect("removing partitions does not panic");
    }
}
