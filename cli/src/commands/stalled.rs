//! Says on standard error why records are not acknowledged, when none has been for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use highwater_client::Client;

use super::reasons;
use crate::output::note;

/// When no record was acknowledged for so long though some wait, it is said why,
const STALLED_AFTER: Duration = Duration::from_secs(3);
/// and again after this long, or when the reason has changed.
const SAY_AGAIN: Duration = Duration::from_secs(15);
/// Brokers have this long to say what is wrong.
const ASK_WAIT: Duration = Duration::from_secs(5);
/// How often the progress is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How many records were sent, and of how many it is known what became of them.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    pub(crate) sent: AtomicU64,
    pub(crate) settled: AtomicU64,
}

/// Something that is waited for, until it is dropped.
pub(crate) struct OneMore<'a>(&'a Progress);

impl Progress {
    /// Counts something as sent, and as settled when what is returned is dropped.
    pub(crate) fn one_more(&self) -> OneMore<'_> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        OneMore(self)
    }
}

impl Drop for OneMore<'_> {
    fn drop(&mut self) {
        self.0.settled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A task that ends with whoever holds this.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Watches until it is dropped.
pub(crate) async fn watch(client: Client, topic: String, progress: Arc<Progress>) {
    let (mut settled, mut since) = (0, now());
    let mut said: (Vec<String>, Option<Instant>) = (Vec::new(), None);
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let seen = progress.settled.load(Ordering::Relaxed);
        if seen != settled || progress.sent.load(Ordering::Relaxed) == seen {
            (settled, since) = (seen, now());
            said.0.clear();
            continue;
        }
        if since.elapsed() < STALLED_AFTER {
            continue;
        }
        let asking = reasons::not_acknowledged(&client, &topic);
        let reasons = tokio::time::timeout(ASK_WAIT, asking).await;
        let reasons =
            reasons.unwrap_or_else(|_| vec![format!("no broker says why within {} s", ASK_WAIT.as_secs())]);
        let is_old = said.1.is_none_or(|at| at.elapsed() >= SAY_AGAIN);
        if reasons != said.0 || is_old {
            reasons.iter().for_each(|reason| note(&format!("waiting: {reason}")));
            said = (reasons, Some(now()));
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a command's patience, not a broker's clock")]
fn now() -> Instant {
    Instant::now()
}
