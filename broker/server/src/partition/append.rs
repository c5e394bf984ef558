//! Appending on the leader: checked, written, acknowledged once it is safe.

use std::sync::Arc;

use bytes::Bytes;
use highwater_core::replication::check_acks;
use highwater_core::settings::{Durability, TimestampKind, TopicSettings};
use highwater_log::{Appended, Novelty};
use highwater_proto::museum::{self, Bug};
use highwater_proto::record::{TimestampType, ValidationRules, validate_produced};

use super::outcome::{AckedBatch, ProduceError};
use super::owner::{Ack, Parked, Partition, Released, Role};

impl Partition {
    /// Checks a batch, appends it, and calls `ack` when it is as safe as `acks` asks: 0 and 1 once written, -1 once the
    /// high watermark has passed it.
    pub fn append(self: &Arc<Partition>, batch: &Bytes, acks: i32, ack: Ack) {
        let settings = self.settings();
        let now_ms = self.around.clock.unix_ms();
        let rules = validation_rules(&settings, now_ms);
        let header = match validate_produced(batch, &rules) {
            Ok(header) => header,
            Err(error) => return self.refuse(ack, ProduceError::Batch(Arc::new(error))),
        };
        let now = self.now();
        let mut guard = self.lock();
        let state = &mut *guard;
        let not_leader = state.not_leader();
        let leader = match &mut state.role {
            _ if state.gone => Err(ProduceError::Gone),
            Role::Leader(leader) if self.around.lease.holds(now) || museum::active(Bug::LeaseIgnored) => {
                Ok(leader)
            }
            // Without a lease there may be another leader already (M-60).
            _ => Err(ProduceError::NotLeader(not_leader)),
        };
        // M-10: nothing is written unless there are enough to be acknowledged by.
        let min = usize::try_from(settings.min_insync_replicas).unwrap_or(usize::MAX);
        let leader =
            leader.and_then(|leader| Ok(check_acks(acks, leader.in_sync().0, min).map(|()| leader)?));
        let appended = leader.and_then(|leader| {
            let appended = state.log.append(batch, &header, leader.epoch(), now_ms);
            appended.map(|appended| (leader, appended)).map_err(|error| ProduceError::Append(Arc::new(error)))
        });
        let (leader, appended) = match appended {
            Ok(appended) => appended,
            Err(error) => {
                drop(guard);
                return self.refuse(ack, error);
            }
        };
        self.count(&appended, batch.len());
        let mut released = Released::default();
        let rose = leader.appended(state.log.log_end(), now).is_some();
        let high_watermark = leader.high_watermark();
        let has_followers = leader.assignment().replicas.len() > 1;
        let acked = AckedBatch {
            base_offset: appended.base_offset,
            append_time_ms: append_time(&settings, &appended),
            log_start: state.log.log_start(),
        };
        if acks != -1 || high_watermark >= appended.end || museum::active(Bug::AckAtAppend) {
            released.acks.push((ack, Ok(acked)));
        } else {
            state.parked.push_back(Parked { end: appended.end, acked, ack });
        }
        if rose {
            state.release(&mut released);
        } else if has_followers {
            released.watches.extend(state.feeds.iter().cloned());
        }
        if has_followers {
            self.want_attention(state);
        }
        if settings.durability == Durability::Fsync {
            self.want_flush(state);
        }
        drop(guard);
        released.run();
    }

    fn refuse(&self, ack: Ack, error: ProduceError) {
        self.around.metrics.batches_refused.inc();
        ack(Err(error));
    }

    fn count(&self, appended: &Appended, bytes: usize) {
        let metrics = &self.around.metrics;
        match appended.novelty {
            Novelty::New => {
                metrics.batches_appended.inc();
                metrics.bytes_appended.inc_by(bytes as u64);
            }
            Novelty::Duplicate => drop(metrics.batches_deduplicated.inc()),
        }
    }
}

fn append_time(settings: &TopicSettings, appended: &Appended) -> Option<i64> {
    (settings.message_timestamp_type == TimestampKind::LogAppendTime).then_some(appended.max_timestamp_ms)
}

/// Decompressed size limit, as a multiple of the largest batch.
const EXPANSION_MAX: usize = 32;

fn validation_rules(settings: &TopicSettings, now_ms: i64) -> ValidationRules {
    let max_batch_bytes = usize::try_from(settings.max_message_bytes).unwrap_or(usize::MAX);
    ValidationRules {
        max_batch_bytes,
        max_decompressed_bytes: max_batch_bytes.saturating_mul(EXPANSION_MAX),
        timestamp_before_max_ms: settings.message_timestamp_before_max_ms,
        timestamp_after_max_ms: settings.message_timestamp_after_max_ms,
        timestamp_type: match settings.message_timestamp_type {
            TimestampKind::CreateTime => TimestampType::CreateTime,
            TimestampKind::LogAppendTime => TimestampType::LogAppendTime,
        },
        key_required: settings.cleanup_policy.compacts(),
        ..ValidationRules::new(now_ms)
    }
}
