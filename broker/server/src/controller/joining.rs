//! A broker that comes later: it asks a member for an id, and lets itself be told the metadata.

use std::path::Path;
use std::time::Duration;

use highwater_core::metadata::{Command, Outcome};
use highwater_env::Disk;
use highwater_log::meta::{META_FILE, Meta};
use highwater_proto::BrokerId;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::request::{Answer, Members, Request};
use crate::peer::{Identity, Kind, call_once};

/// One attempt at one address.
const ATTEMPT_WAIT: Duration = Duration::from_secs(5);
/// Between rounds over all addresses.
const PAUSE: Duration = Duration::from_millis(300);
/// How often a broker that finds no member says so, in rounds.
const COMPLAINT_ROUNDS: u32 = 20;
/// Redirections followed within one attempt.
const REDIRECTIONS_MAX: u32 = 3;

/// Why a broker did not join.
#[derive(Debug, Error)]
pub enum JoinError {
    /// The cluster will not have it.
    #[error("the cluster at {address} does not take this broker: {reason}")]
    Refused {
        /// Who said so.
        address: String,
        /// In its own words.
        reason: String,
    },
    /// It was told to stop before.
    #[error("stopped before a member of the cluster answered")]
    Stopped,
}

/// The id that this directory's broker was given before, if it was.
///
/// # Errors
/// What the disk says.
pub(crate) fn id_on_disk(disk: &dyn Disk, data_dir: &Path) -> std::io::Result<Option<BrokerId>> {
    let path = data_dir.join(META_FILE);
    if !disk.exists(&path)? {
        return Ok(None);
    }
    let file = disk.open(&path)?;
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
    file.read_exact_at(0, &mut bytes)?;
    // One that is damaged is refused, in words, when the directory is opened.
    Ok(Meta::decode(&String::from_utf8_lossy(&bytes)).map(|meta| meta.broker_id))
}

/// Asks any member for an id.
///
/// # Errors
/// [`JoinError`].
pub(crate) async fn take_id(
    identity: &Identity,
    members: &[String],
    stop: &CancellationToken,
) -> Result<BrokerId, JoinError> {
    match ask_members(identity, members, &Request::Submit(Command::TakeBrokerId), stop).await? {
        (_, Answer::Decided { result: Ok(Outcome::BrokerIdTaken { broker }), .. }) => Ok(broker),
        (address, Answer::Decided { result: Err(refusal), .. }) => {
            Err(JoinError::Refused { address, reason: refusal.to_string() })
        }
        (address, other) => Err(JoinError::Refused {
            address,
            reason: format!("it answers {other:?} to a request for an id"),
        }),
    }
}

/// Asks the cluster to tell this node everything. Fine to repeat.
///
/// # Errors
/// [`JoinError`].
pub(crate) async fn be_told(
    identity: &Identity,
    members: &[String],
    address: String,
    stop: &CancellationToken,
) -> Result<(), JoinError> {
    let request = Request::Members(Members::AddLearner { id: identity.id(), address });
    match ask_members(identity, members, &request, stop).await? {
        (_, Answer::Changed) => Ok(()),
        (address, Answer::Refused { reason }) => Err(JoinError::Refused { address, reason }),
        (address, other) => Err(JoinError::Refused { address, reason: format!("it answers {other:?}") }),
    }
}

/// Asks one member after the other until the controller answers.
async fn ask_members(
    identity: &Identity,
    members: &[String],
    request: &Request,
    stop: &CancellationToken,
) -> Result<(String, Answer), JoinError> {
    let body = serde_json::to_vec(request).expect("a request is plain data");
    let mut rounds = 0;
    loop {
        for member in members {
            let mut address = member.clone();
            for _ in 0..REDIRECTIONS_MAX {
                let asking = call_once(identity, &address, Kind::Control, &body, ATTEMPT_WAIT);
                let answer = tokio::select! {
                    answer = asking => answer,
                    () = stop.cancelled() => return Err(JoinError::Stopped),
                };
                match answer.map(|answer| serde_json::from_slice(&answer)) {
                    Ok(Ok(Answer::NotController { leader: Some((_, leader)) })) => address = leader,
                    Ok(Ok(Answer::NotController { leader: None } | Answer::Unknown)) => break,
                    Ok(Ok(answer)) => return Ok((address, answer)),
                    Ok(Err(error)) => {
                        return Err(JoinError::Refused { address, reason: error.to_string() });
                    }
                    Err(crate::peer::CallError::Dial(crate::peer::DialError::Refused {
                        address,
                        reason,
                    })) => {
                        return Err(JoinError::Refused { address, reason });
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a member does not answer");
                        break;
                    }
                }
            }
        }
        rounds += 1;
        if rounds % COMPLAINT_ROUNDS == 0 {
            tracing::warn!(?members, "no member of the cluster answers yet");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
