//! The command: its options and what it does with them.

use std::path::{Path, PathBuf};

use highwater_env::Disk;
use highwater_env::os::OsDisk;
use serde::Serialize;

use super::partition::{PartitionReport, inspect};
use crate::args::Global;
use crate::exit::{CliError, CliResult, Exit};
use crate::output::{bytes, count, print, table};
use crate::progress;

/// Options of `dump`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Data directories, partition directories or single .log files.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Show every batch.
    #[arg(long)]
    batches: bool,
}

#[derive(Serialize)]
struct Report {
    partitions: Vec<PartitionReport>,
    damaged: usize,
}

pub(crate) fn run(args: &Args, global: &Global) -> CliResult {
    let mut partitions = Vec::new();
    for path in &args.paths {
        let found = partition_dirs(path)?;
        if found.is_empty() {
            let message = format!("{} holds no segments", path.display());
            return Err(CliError::new(Exit::NotFound, message)
                .hint("give a broker's data directory, a partition's directory or a .log file"));
        }
        let progress = progress::bar(Some(found.len() as u64), "verifying");
        for (dir, only) in found {
            partitions.push(inspect(&dir, only.as_deref(), args.batches)?);
            progress.inc(1);
        }
        progress.finish_and_clear();
    }
    let damaged = partitions.iter().map(PartitionReport::problems).sum();
    print(global.output, &Report { partitions, damaged }, text)?;
    match damaged {
        0 => Ok(()),
        n => Err(CliError::new(Exit::Damaged, format!("{n} damaged places, listed above"))),
    }
}

/// Directories with segments at or below `path`; for a single segment, its directory and name.
fn partition_dirs(path: &Path) -> CliResult<Vec<(PathBuf, Option<String>)>> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let (Some(name), Some(dir)) = (name.filter(|name| name.ends_with(".log")), path.parent()) {
        if !OsDisk.exists(path)? {
            return Err(CliError::new(Exit::NotFound, format!("there is no file {}", path.display())));
        }
        return Ok(vec![(dir.to_owned(), Some(name))]);
    }
    let unreadable = |error: std::io::Error| {
        CliError::new(Exit::NotFound, format!("cannot read {}: {error}", path.display()))
    };
    let mut dirs = Vec::new();
    for entry in OsDisk.list(path).map_err(unreadable)? {
        if entry.name.ends_with(".log") {
            dirs = vec![(path.to_owned(), None)];
            break;
        }
        let below = path.join(&entry.name);
        let has_segments = OsDisk.list(&below).is_ok_and(|e| e.iter().any(|e| e.name.ends_with(".log")));
        if has_segments {
            dirs.push((below, None));
        }
    }
    let partitions = path.join("partitions");
    if OsDisk.exists(&partitions)? {
        // A data directory; the other logs in it, the metadata's, are of another format.
        return partition_dirs(&partitions);
    }
    dirs.sort();
    Ok(dirs)
}

fn text(report: &Report) -> String {
    let mut text = String::new();
    for partition in &report.partitions {
        text.push_str(&format!("{}\n", partition.path));
        if let Some(state) = &partition.state {
            text.push_str(&format!(
                "  log start {}, flushed to {}, high watermark {}, left {}\n",
                state.log_start, state.flushed_end, state.high_watermark, state.ending
            ));
        }
        let row = |s: &super::segment::SegmentReport| {
            vec![
                s.base_offset.to_string(),
                s.end_offset.to_string(),
                count(s.batches),
                count(s.records),
                bytes(s.bytes),
                s.index.clone(),
                if s.problems.is_empty() {
                    "ok".to_owned()
                } else {
                    format!("{} problems", s.problems.len())
                },
            ]
        };
        let rows: Vec<_> = partition.segments.iter().map(row).collect();
        text.push_str(&table(&["  BASE", "END", "BATCHES", "RECORDS", "BYTES", "INDEX", "VERDICT"], &rows));
        for segment in &partition.segments {
            for batch in &segment.listed {
                text.push_str(&format!("    {batch}\n"));
            }
            for problem in &segment.problems {
                text.push_str(&format!("  DAMAGED {problem}\n"));
            }
        }
    }
    let records: u64 = report.partitions.iter().flat_map(|p| &p.segments).map(|s| s.records).sum();
    let verdict = if report.damaged == 0 { "every checksum holds" } else { "DAMAGED" };
    text.push_str(&format!(
        "{} records in {} partitions: {verdict}\n",
        count(records),
        report.partitions.len()
    ));
    text
}
