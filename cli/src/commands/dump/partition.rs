//! One partition's directory: its state file and its segments in order.

use std::path::Path;

use highwater_env::Disk;
use highwater_env::os::OsDisk;
use highwater_log::inspect::segment_base;
use highwater_log::state::{Ending, PartitionState, STATE_FILE, read_state};
use serde::Serialize;

use super::segment::{Extent, SegmentReport, inspect_segment};
use crate::exit::{CliError, CliResult};

/// What stands in a partition's directory.
#[derive(Debug, Serialize)]
pub(super) struct PartitionReport {
    pub(super) path: String,
    pub(super) state: Option<StateReport>,
    pub(super) segments: Vec<SegmentReport>,
}

/// What `partition.state` says.
#[derive(Debug, Serialize)]
pub(super) struct StateReport {
    pub(super) log_start: i64,
    pub(super) flushed_end: i64,
    pub(super) high_watermark: i64,
    pub(super) last_epoch: i32,
    pub(super) ending: &'static str,
}

impl PartitionReport {
    pub(super) fn problems(&self) -> usize {
        self.segments.iter().map(|segment| segment.problems.len()).sum()
    }
}

impl StateReport {
    fn new(state: &PartitionState) -> StateReport {
        StateReport {
            log_start: state.log_start.0,
            flushed_end: state.flushed_end.0,
            high_watermark: state.high_watermark.0,
            last_epoch: state.last_epoch.0,
            ending: match state.ending {
                Ending::Open => "open",
                Ending::Clean => "clean",
                Ending::SyncFailed => "after a failed sync",
            },
        }
    }
}

/// Reads the directory, or the one segment named in it.
pub(super) fn inspect(dir: &Path, only: Option<&str>, with_batches: bool) -> CliResult<PartitionReport> {
    let failed = |error: std::io::Error| CliError::failed(format!("cannot read {}: {error}", dir.display()));
    let state_file = dir.join(STATE_FILE);
    let state = if OsDisk.exists(&state_file).map_err(failed)? {
        let file = OsDisk.open(&state_file).map_err(failed)?;
        read_state(&*file).map_err(failed)?.map(|(_, state)| state)
    } else {
        None
    };
    let names = OsDisk.list(dir).map_err(failed)?.into_iter().map(|entry| entry.name);
    let mut files: Vec<(i64, String)> =
        names.filter_map(|name| Some((segment_base(&name)?.0, name))).collect();
    files.sort_unstable();
    let mut segments = Vec::new();
    for (index, (base, name)) in files.iter().enumerate() {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let next_base = files.get(index + 1).map(|(base, _)| *base);
        let extent = Extent::new(*base, next_base, state.as_ref());
        segments.push(inspect_segment(dir, name, &extent, with_batches).map_err(failed)?);
    }
    let state = state.as_ref().map(StateReport::new);
    Ok(PartitionReport { path: dir.display().to_string(), state, segments })
}
