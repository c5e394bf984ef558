//! Producers from what is on disk: the newest whole snapshot, and the batches after it (rule M-32).

use highwater_proto::Offset;
use highwater_proto::record::BatchHeader;

use crate::error::{IoFault, fault};
use crate::index;
use crate::log::PartitionLog;
use crate::open::read_small;
use crate::producers::ProducerStates;
use crate::scan::scan_headers;
use crate::segment::{file_name, parse_file_name};
use crate::snapshot::{self, SNAPSHOT_SUFFIX};

impl PartitionLog {
    /// After a truncation: the producers as the remaining log knows them.
    pub(crate) fn rebuild_producers(&mut self, now_ms: i64) -> Result<(), IoFault> {
        self.producers = ProducerStates::default();
        self.snapshots.clear();
        if self.state_file.exists {
            let entries = self.shared.disk.list(&self.directory).map_err(fault("list", &self.directory))?;
            self.snapshots
                .extend(entries.iter().filter_map(|entry| parse_file_name(&entry.name, SNAPSHOT_SUFFIX)));
        }
        self.load_producers(now_ms).map(|_| ())
    }

    /// Learns the producers, and removes snapshots that cannot be right. Returns how many bytes of batches were walked.
    pub(crate) fn load_producers(&mut self, now_ms: i64) -> Result<u64, IoFault> {
        // What lies below the log's start and is still there counts: a producer's last batch may be among it.
        let active = self.active.iter().map(|active| active.base());
        let first = self.sealed.iter().map(|sealed| sealed.reader.base).chain(active).next();
        let first = first.unwrap_or(self.log_end);
        let mut from = first;
        while let Some(end) = self.snapshots.last().copied() {
            let path = self.directory.join(file_name(end, SNAPSHOT_SUFFIX));
            if end <= self.log_end && end >= first {
                let raw = read_small(&self.shared, &path)?.unwrap_or_default();
                if let Some((found, producers)) = snapshot::decode(&raw)
                    && found == end
                {
                    self.producers = producers;
                    from = from.max(end);
                    break;
                }
                tracing::warn!(file = %path.display(), "damaged: learning the producers from older ones and the log");
            }
            // Damaged, or out of date without batches that are gone, or of a future whose offsets will be given to others.
            self.snapshots.pop();
            match self.shared.disk.remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(fault("remove", &path)(error));
                }
                _ => {}
            }
        }
        self.replay_producers(from, now_ms)
    }

    /// Producers of batches from this offset on. Seen now, as far as forgetting them goes: their own clocks may be off.
    fn replay_producers(&mut self, from: Offset, now_ms: i64) -> Result<u64, IoFault> {
        let mut producers = std::mem::take(&mut self.producers);
        let sealed = self.sealed.iter().map(|sealed| (&sealed.reader, sealed.data_bytes, sealed.end));
        let active = self.active.iter().map(|active| (&active.reader, active.data_bytes, self.log_end));
        let mut walked = 0;
        for (reader, data_bytes, end) in sealed.chain(active) {
            if end <= from {
                continue;
            }
            let path = &reader.log_path;
            let relative = u32::try_from((from.0 - reader.base.0).max(0)).unwrap_or(u32::MAX);
            let entry = match &self.active {
                Some(active) if active.base() == reader.base => {
                    index::seek_offset(&active.index.entries, relative)
                }
                _ if relative == 0 => index::IndexEntry::START,
                _ => {
                    let entries = reader.index(data_bytes).map_err(fault("read the index of", path))?;
                    index::seek_offset(&entries, relative)
                }
            };
            let start = u64::from(entry.position);
            let file = self.shared.open(path).map_err(fault("open", path))?;
            let visit = |_: u64, header: &BatchHeader| {
                if header.base_offset >= from {
                    producers.replay(header, now_ms);
                }
            };
            let stop = scan_headers(&*file, start, data_bytes, visit).map_err(fault("read", path))?;
            walked += stop.position - start;
        }
        self.producers = producers;
        Ok(walked)
    }
}
