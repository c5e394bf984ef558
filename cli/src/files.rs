//! The machine's files, as far as the command line reads and writes them: input, logs, `/proc`, configurations it makes.
//! Nothing of a broker's own data, which goes through the log's seams.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use crate::exit::{CliError, CliResult, Exit};

/// A file to read, or standard input.
pub(crate) type Input = BufReader<Box<dyn Read + Send>>;

/// Opens a file to read, or standard input when there is none.
pub(crate) fn input(path: Option<&Path>) -> CliResult<Input> {
    const BUFFER_BYTES: usize = 256 << 10;
    let reader: Box<dyn Read + Send> = match path {
        None => Box::new(io::stdin()),
        Some(path) => Box::new(open(path).map_err(|error| unreadable(path, &error))?),
    };
    Ok(BufReader::with_capacity(BUFFER_BYTES, reader))
}

/// Says which file cannot be read, and why.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> CliError {
    let exit = if error.kind() == io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Failed };
    CliError::new(exit, format!("cannot read {}: {error}", path.display()))
}

#[expect(clippy::disallowed_methods, reason = "input of the command line, not a broker's data")]
fn open(path: &Path) -> io::Result<File> {
    File::open(path)
}

/// A whole file.
#[expect(clippy::disallowed_methods, reason = "input of the command line, not a broker's data")]
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path)
}

/// A whole file of text.
#[expect(clippy::disallowed_methods, reason = "input of the command line, not a broker's data")]
pub(crate) fn read_text(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Writes a whole file of text, and makes the folder for it.
#[expect(clippy::disallowed_methods, reason = "a configuration, not a broker's data")]
pub(crate) fn write_text(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, text)
}

/// The regular files at or below `path`, sorted; what cannot be read is passed over.
#[expect(clippy::disallowed_methods, reason = "input of the command line, not a broker's data")]
pub(crate) fn walk(path: &Path, depth: usize) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| !path.is_symlink());
    paths.sort();
    let is_wanted = |path: &PathBuf| path.is_file() || depth > 0;
    paths.into_iter().filter(is_wanted).flat_map(|path| walk(&path, depth.saturating_sub(1))).collect()
}
