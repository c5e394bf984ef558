//! Reads a recorded history, one line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use thiserror::Error;

use super::op::{Header, Op, SCHEMA_VERSION};

/// Why a history cannot be read.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line} is not part of a history: {source}")]
    Line {
        /// Which, counted from 1.
        line: u64,
        /// Why.
        source: serde_json::Error,
    },
    /// There is nothing in it.
    #[error("the history is empty: not even a header")]
    Empty,
    /// Written by another version.
    #[error("the history is of version {found}, and only {SCHEMA_VERSION} can be read")]
    Version {
        /// Its own.
        found: u32,
    },
}

/// A history that is being read: the header, then the operations.
#[derive(Debug)]
pub struct History<R> {
    header: Header,
    lines: Lines<R>,
    line: u64,
}

impl History<BufReader<File>> {
    /// Opens a recorded file.
    ///
    /// # Errors
    /// [`HistoryError`]: it is not there, or is no history.
    #[expect(clippy::disallowed_methods, reason = "the test bench reads its own files")]
    pub fn open(path: &Path) -> Result<Self, HistoryError> {
        History::new(BufReader::with_capacity(1 << 20, File::open(path)?))
    }
}

impl<R: BufRead> History<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`HistoryError`].
    pub fn new(source: R) -> Result<Self, HistoryError> {
        let mut lines = source.lines();
        let first = lines.next().ok_or(HistoryError::Empty)??;
        let header: Header =
            serde_json::from_str(&first).map_err(|source| HistoryError::Line { line: 1, source })?;
        if header.highwater_history != SCHEMA_VERSION {
            return Err(HistoryError::Version { found: header.highwater_history });
        }
        Ok(History { header, lines, line: 1 })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }
}

impl<R: BufRead> Iterator for History<R> {
    type Item = Result<Op, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(match line {
            Err(error) => Err(error.into()),
            Ok(text) => {
                serde_json::from_str(&text).map_err(|source| HistoryError::Line { line: self.line, source })
            }
        })
    }
}
