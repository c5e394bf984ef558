//! What must hold of every image (I5, and what the ids and epochs promise). Run after every apply in tests and debug
//! builds.

use super::image::Image;

impl Image {
    /// What must hold of every image.
    ///
    /// # Errors
    /// The invariant that is broken.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.check_names()?;
        self.check_brokers()?;
        self.check_partitions()
    }

    /// That the digest which is kept is that of the parts; costs a pass over all of them.
    ///
    /// # Errors
    /// It is not.
    pub fn check_digest(&self) -> Result<(), String> {
        match self.digests == self.digests_afresh() {
            true => Ok(()),
            false => Err("the digest that is kept is the digest of the parts".to_owned()),
        }
    }

    fn check_names(&self) -> Result<(), String> {
        if self.names.len() != self.topics.len() || self.collision_keys.len() != self.topics.len() {
            return Err("every topic has one name and no name collides".to_owned());
        }
        if !self.names.iter().all(|(name, id)| self.topic(*id).is_some_and(|topic| topic.name == *name)) {
            return Err("names lead to their topics".to_owned());
        }
        if self.topics.iter().any(|(id, topic)| topic.id != *id || topic.partitions.is_empty()) {
            return Err("topics are filed under their ids and have partitions".to_owned());
        }
        Ok(())
    }

    fn check_brokers(&self) -> Result<(), String> {
        for (id, broker) in self.brokers.iter() {
            let future = self.next_broker_epoch();
            if broker.id != *id || id.0 >= self.next_broker_id {
                return Err(format!("broker {id} is filed under its id, and the id was given away"));
            }
            if self.unregistered_ids.contains(id) {
                return Err(format!("broker {id} is registered or is not"));
            }
            if broker.epoch > future || broker.served_epoch.is_some_and(|served| served > broker.epoch) {
                return Err(format!("broker {id} lives in an epoch that was given"));
            }
            if !broker.fenced && broker.served_epoch != Some(broker.epoch) {
                return Err(format!("broker {id} is unfenced, so it may have served"));
            }
        }
        if self.unregistered_ids.iter().any(|id| id.0 >= self.next_broker_id) {
            return Err("ids that wait for their brokers were given away".to_owned());
        }
        Ok(())
    }

    fn check_partitions(&self) -> Result<(), String> {
        for (id, topic, partition) in self.partitions() {
            partition.check().map_err(|broken| format!("{id}: {broken}"))?;
            let min = partition.min_isr(topic.min_insync_replicas());
            if partition.isr.len() >= min
                && !(partition.elr.is_empty() && partition.last_known_elr.is_empty())
            {
                return Err(format!("{id}: nobody is eligible beside enough in-sync replicas"));
            }
            // A broker that stands alone forms no cluster and needs no registration.
            if self.cluster.is_none() {
                continue;
            }
            if let Some(stranger) = partition.replicas.iter().find(|id| self.broker(**id).is_none()) {
                return Err(format!("{id}: replica {stranger} is registered"));
            }
            if let Some(inactive) = partition.isr.iter().find(|id| !self.is_active(**id)) {
                return Err(format!("{id}: in-sync replica {inactive} is neither fenced nor shutting down"));
            }
        }
        Ok(())
    }
}
