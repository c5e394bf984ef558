//! The text that the quickstart streams: files given, else the machine's logs, else this project's own.

use std::path::{Path, PathBuf};

use crate::exit::{CliError, CliResult, Exit};
use crate::files;

/// Shipped inside the binary, for a machine that has nothing else to read.
const OWN_TEXT: &[(&str, &str)] = &[
    ("LICENSE", include_str!("../../../../LICENSE")),
    ("log.proto", include_str!("../../../../proto/proto/highwater/v1/log.proto")),
    ("admin.proto", include_str!("../../../../proto/proto/highwater/v1/admin.proto")),
];

/// Less text than this shows nothing.
const ENOUGH_BYTES: usize = 16 << 10;
/// Directories below a folder that are looked into.
const DEPTH: usize = 4;

/// Lines of text, with the file each came from.
#[derive(Debug)]
pub(super) struct Corpus {
    /// Where it is from, for a person.
    pub(super) source: String,
    pub(super) files: Vec<TextFile>,
}

/// One file's text.
#[derive(Debug)]
pub(super) struct TextFile {
    pub(super) name: String,
    content: Vec<u8>,
}

impl TextFile {
    /// Its lines, without line feeds.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.content
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
    }
}

impl Corpus {
    pub(super) fn find(given: &[PathBuf], max_bytes: usize) -> CliResult<Corpus> {
        if !given.is_empty() {
            return Corpus::given(given, max_bytes);
        }
        let logs = read_all(&files::walk(Path::new("/var/log"), DEPTH), max_bytes);
        if size(&logs) >= ENOUGH_BYTES {
            return Ok(Corpus { source: "this machine's logs under /var/log".to_owned(), files: logs });
        }
        let is_ours = |path: &PathBuf| {
            path.extension().is_some_and(|e| e == "rs" || e == "md" || e == "proto" || e == "toml")
        };
        let sources: Vec<PathBuf> = ["Cargo.toml", "broker", "client", "cli", "proto"]
            .iter()
            .flat_map(|path| files::walk(Path::new(path), DEPTH + 4))
            .filter(is_ours)
            .collect();
        let sources = read_all(&sources, max_bytes);
        if size(&sources) >= ENOUGH_BYTES {
            return Ok(Corpus { source: "this repository's own text".to_owned(), files: sources });
        }
        let own = |(name, text): &(&str, &str)| TextFile {
            name: (*name).to_owned(),
            content: text.as_bytes().to_vec(),
        };
        Ok(Corpus {
            source: "the text inside this program".to_owned(),
            files: OWN_TEXT.iter().map(own).collect(),
        })
    }

    fn given(given: &[PathBuf], max_bytes: usize) -> CliResult<Corpus> {
        let mut paths = Vec::new();
        for path in given {
            if !path.exists() {
                return Err(CliError::new(Exit::NotFound, format!("there is no file {}", path.display())));
            }
            paths.extend(files::walk(path, DEPTH));
        }
        let files = read_all(&paths, max_bytes);
        if size(&files) == 0 {
            return Err(CliError::failed("the files given hold no readable text"));
        }
        Ok(Corpus { source: format!("{} given files", files.len()), files })
    }
}

fn size(files: &[TextFile]) -> usize {
    files.iter().map(|file| file.content.len()).sum()
}

/// Reads text files up to `max_bytes` in all; what is unreadable, empty or binary is passed over.
fn read_all(paths: &[PathBuf], max_bytes: usize) -> Vec<TextFile> {
    let mut left = max_bytes;
    let mut read = Vec::new();
    for path in paths {
        let Ok(mut content) = files::read(path) else { continue };
        let is_binary = content.iter().take(8 << 10).any(|byte| *byte == 0);
        if content.is_empty() || is_binary || left == 0 {
            continue;
        }
        content.truncate(left);
        left -= content.len();
        read.push(TextFile { name: path.display().to_string(), content });
    }
    read
}
