//! A node whose directory is open and checked, and that takes no part in its group yet: its caller can look at what the
//! directory holds, ask others about it, and decide whether the node may start at all.

use std::sync::Arc;

use highwater_env::Disk;
use openraft::Config;

use crate::RaftConfig;
use crate::machine::StateMachine;
use crate::node::RaftNode;
use crate::start::{self, Opened, StartError};
use crate::transport::Transport;

/// What a node of Raft is before it starts. Dropping it lets the directory go.
pub struct OpenedNode {
    pub(crate) config: RaftConfig,
    pub(crate) settings: Config,
    pub(crate) opened: Opened,
    pub(crate) withheld_until: Option<u64>,
}

impl OpenedNode {
    /// Opens a directory and checks all that is in it, or makes one for a new node.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open(config: RaftConfig, disk: Arc<dyn Disk>) -> Result<OpenedNode, StartError> {
        let settings = config.openraft().map_err(|error| StartError::Config { reason: error.to_string() })?;
        let open = config.clone();
        let opened = tokio::task::spawn_blocking(move || start::open(&open, disk)).await;
        let opened = opened.map_err(|error| StartError::Recovery { reason: error.to_string() })??;
        Ok(OpenedNode { config, settings, opened, withheld_until: None })
    }

    /// The last entry that the directory holds or that a snapshot stands for. `None`: nobody told this node anything, nor
    /// was it founded. 0: it was founded, and that is all that it knows.
    #[must_use]
    pub fn last_log_index(&self) -> Option<u64> {
        let Opened { log, snapshots } = &self.opened;
        log.last.max(snapshots.last_log_id()).map(|id| id.index)
    }

    /// Lets the node listen, but neither give a vote nor ask for votes, until it has applied the entry at `index`. For a
    /// node that may have forgotten what it had confirmed: when it has again everything that was committed by then, its
    /// vote can lose nothing of it.
    pub fn withhold_votes_until(&mut self, index: u64) {
        self.withheld_until = Some(index);
        self.settings.enable_elect = false;
    }

    /// Starts the node. Returns when the state machine holds all that this node knows to be committed.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        self,
        state_machine: impl StateMachine,
        transport: Arc<dyn Transport>,
    ) -> Result<RaftNode, StartError> {
        RaftNode::over(self, state_machine, transport).await
    }
}
