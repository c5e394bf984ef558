//! One life of a broker: it registers, gets its epoch, is unfenced once it has caught up, and keeps its lease.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use highwater_core::metadata::{
    ClusterError, ClusterId, Command, Endpoints, Incarnation, LastStop, METADATA_VERSION, Outcome, Refusal,
    Registration, RegistrationError,
};
use highwater_env::{Clock, Disk, Random};
use highwater_proto::{BrokerEpoch, BrokerId};
use thiserror::Error;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::decisions::Timing;
use super::request::Standing;
use super::{Control, SubmitError, small_file};
use crate::metadata::MetadataStore;
use crate::partition::Lease;
use crate::peer::Identity;

/// The epoch of the last life, in the data directory.
const EPOCH_FILE: &str = "broker.epoch";
/// One attempt to register.
const ATTEMPT_WAIT: Duration = Duration::from_secs(5);
/// A process that keeps this broker's id for so many sessions is another one, and not its last life.
const SESSIONS_WAITED: u32 = 5;
/// How often a broker that waits for a quorum says so.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Why a broker has no place in its cluster.
#[derive(Debug, Error)]
pub enum LifeFailure {
    /// The cluster will not have it.
    #[error("the cluster does not take this broker: {0}")]
    Refused(Refusal),
    /// Its epoch could not be kept.
    #[error("{path} could not be written: {error}")]
    Epoch {
        /// The file.
        path: PathBuf,
        /// What the disk says.
        error: std::io::Error,
    },
    /// Another process has its id now. It may be an earlier process of the same broker, whose request came late.
    #[error(
        "another process registered as this broker, in epoch {epoch}; if none runs, start this one again"
    )]
    Displaced {
        /// The epoch of the other one.
        epoch: BrokerEpoch,
    },
    /// It was told to stop before.
    #[error("stopped before the broker had a place in its cluster")]
    Stopped,
}

/// What a life is made of.
pub(crate) struct Life {
    pub(crate) control: Control,
    pub(crate) store: MetadataStore,
    pub(crate) identity: Arc<Identity>,
    pub(crate) lease: Arc<Lease>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) data_dir: PathBuf,
    pub(crate) timing: Timing,
    pub(crate) registration: Registration,
}

/// What a broker says of itself, with an incarnation drawn at random.
pub(crate) fn registration(
    broker: BrokerId,
    disk_id: String,
    (last_epoch, last_stop): (Option<BrokerEpoch>, LastStop),
    endpoints: Endpoints,
    rack: Option<String>,
    random: &dyn Random,
) -> Registration {
    let mut incarnation = Incarnation::default();
    random.fill(&mut incarnation.0);
    let (cluster, version) = (None, METADATA_VERSION);
    Registration { broker, incarnation, cluster, disk_id, last_epoch, last_stop, endpoints, rack, version }
}

impl Life {
    /// Registers, forming the cluster if there is none. Returns this life's epoch, which is on disk by then. The broker is
    /// fenced.
    ///
    /// # Errors
    /// [`LifeFailure`].
    pub(crate) async fn register(
        &mut self,
        random: &dyn Random,
        stop: &CancellationToken,
    ) -> Result<BrokerEpoch, LifeFailure> {
        let give_up_at = self.clock.monotonic() + self.timing.session * SESSIONS_WAITED;
        let mut complain_at = self.clock.monotonic() + COMPLAINT_INTERVAL;
        loop {
            if stop.is_cancelled() {
                return Err(LifeFailure::Stopped);
            }
            self.form_cluster(random).await?;
            self.registration.cluster = self.store.image().cluster().map(|cluster| cluster.id);
            let command = Command::RegisterBroker { registration: self.registration.clone() };
            match self.control.submit(command, ATTEMPT_WAIT).await {
                Ok(Outcome::Registered { epoch }) => {
                    write_epoch(&*self.disk, &self.data_dir, epoch)?;
                    self.identity.set_epoch(epoch);
                    self.control.raft().wait_applied(u64::try_from(epoch.0).unwrap_or(0)).await;
                    tracing::info!(%epoch, "registered");
                    return Ok(epoch);
                }
                // Its last life may not have been missed yet.
                Err(SubmitError::Refused(Refusal::Registration(
                    RegistrationError::Duplicate { .. } | RegistrationError::Concurrent { .. },
                ))) if self.clock.monotonic() < give_up_at => {
                    tracing::info!(
                        "this broker's id was in use a moment ago; waiting until its last life is missed"
                    );
                    tokio::time::sleep(self.timing.heartbeat / 2).await;
                }
                Err(SubmitError::Refused(Refusal::Registration(RegistrationError::NoCluster { .. }))) => {
                    tokio::time::sleep(self.timing.heartbeat / 4).await;
                }
                Err(SubmitError::Refused(refusal)) => return Err(LifeFailure::Refused(refusal)),
                Ok(_) | Err(_) => {
                    if self.clock.monotonic() >= complain_at {
                        tracing::warn!("still no controller: waiting for a majority of the cluster's voters");
                        complain_at = self.clock.monotonic() + COMPLAINT_INTERVAL;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// The first controller forms the cluster, and whoever comes later finds it formed.
    async fn form_cluster(&self, random: &dyn Random) -> Result<(), LifeFailure> {
        let status = self.control.status();
        if self.store.image().cluster().is_some() || !status.is_leader {
            return Ok(());
        }
        let mut id = ClusterId::default();
        random.fill(&mut id.0);
        let brokers =
            status.voters.keys().filter_map(|id| i32::try_from(*id).ok()).map(BrokerId).collect::<Vec<_>>();
        let name = self.identity.cluster_name.clone();
        match self.control.submit(Command::FormCluster { id, name, brokers }, ATTEMPT_WAIT).await {
            Err(SubmitError::Refused(Refusal::Cluster(ClusterError::FormedAlready { .. }))) => Ok(()),
            Err(SubmitError::Refused(refusal)) => Err(LifeFailure::Refused(refusal)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Keeps the broker alive in the cluster's eyes, and its lease in its own, until told to stop. A fenced broker asks to
    /// be unfenced. Calls `serving` once it is unfenced for the first time. `carried` tells up to where the metadata was
    /// carried out here. Returns the epoch of another process that has this broker's id now; `None` if it was told to stop.
    pub(crate) async fn keep(
        self,
        serving: oneshot::Sender<()>,
        carried: watch::Receiver<u64>,
        stop: CancellationToken,
    ) -> Option<BrokerEpoch> {
        let (broker, epoch) = (self.identity.id(), self.identity.epoch());
        let (mut serving, mut forgotten) = (Some(serving), false);
        let mut beats = tokio::time::interval(self.timing.heartbeat);
        beats.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = beats.tick() => {}
                () = stop.cancelled() => return None,
            }
            let (sent, applied) = (self.clock.monotonic(), *carried.borrow());
            match self.control.heartbeat(broker, epoch, applied, self.timing.session).await {
                Ok(Standing::Serving) => {
                    self.lease.renew(sent + self.timing.lease());
                    if let Some(serving) = serving.take() {
                        let _ = serving.send(());
                    }
                }
                Ok(Standing::Fenced) => {
                    self.lease.renew(Duration::ZERO);
                    let applied = *carried.borrow();
                    self.ask_to_be_unfenced(Command::Unfence { broker, epoch, applied }).await;
                    beats.reset_immediately();
                }
                Ok(Standing::Stale) => {
                    self.lease.renew(Duration::ZERO);
                    match self.store.image().broker(broker).map(|registered| registered.epoch) {
                        Some(registered) if registered > epoch => return Some(registered),
                        _ if std::mem::replace(&mut forgotten, true) => {}
                        // One that is removed may never be told.
                        _ => tracing::error!(
                            %epoch,
                            "the cluster knows this broker no more: unless it was just started twice, it was removed, leads nothing \
                             and can be stopped"
                        ),
                    }
                }
                // The lease runs out by itself.
                Ok(Standing::Behind) => {
                    tracing::debug!(applied, "no lease: others lead what this broker led")
                }
                Err(error) => tracing::debug!(%error, "no heartbeat"),
            }
        }
    }

    async fn ask_to_be_unfenced(&self, command: Command) {
        if let Err(error) = self.control.submit(command, self.timing.session).await {
            tracing::warn!(%error, "not unfenced yet");
            tokio::time::sleep(self.timing.heartbeat).await;
        }
    }
}

/// The epoch of the last life that was registered from this directory.
///
/// # Errors
/// What the disk says; a file that is damaged counts as none.
pub(crate) fn read_epoch(disk: &dyn Disk, data_dir: &Path) -> std::io::Result<Option<BrokerEpoch>> {
    let Some(text) = small_file::read(disk, &data_dir.join(EPOCH_FILE))? else { return Ok(None) };
    let Some((epoch, crc)) = text.split_once(' ') else { return Ok(None) };
    let sound = u32::from_str_radix(crc, 16) == Ok(crc32c::crc32c(epoch.as_bytes()));
    Ok(epoch.parse().ok().filter(|_| sound).map(BrokerEpoch))
}

fn write_epoch(disk: &dyn Disk, data_dir: &Path, epoch: BrokerEpoch) -> Result<(), LifeFailure> {
    let number = epoch.to_string();
    let line = format!("{number} {:08x}", crc32c::crc32c(number.as_bytes()));
    let written = small_file::write(disk, data_dir, EPOCH_FILE, &line);
    written.map_err(|error| LifeFailure::Epoch { path: data_dir.join(EPOCH_FILE), error })
}

#[cfg(test)]
#[path = "life_tests.rs"]
mod tests;
