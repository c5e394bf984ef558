//! The house rules that a compiler does not check: how long a file and a function may be, which way dependencies point,
//! that every module says what it is. The limits only ever go down: `tests/tidy-ratchet.txt` lists what is over them
//! today with its length, and an entry may shrink or vanish, never grow.
#![expect(clippy::disallowed_methods, reason = "a test reads the sources themselves")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Floor of each crate; a dependency must be on a lower one.
const FLOORS: &[(&str, u8)] = &[
    ("proto", 0),
    ("broker/env", 1),
    ("broker/core", 1),
    ("broker/log", 2),
    ("raft-store", 2),
    ("broker/server", 3),
    ("client", 3),
    ("cli", 4),
    ("tests", 4),
    ("benches", 4),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = FLOORS.iter().map(|(name, _)| root().join(name)).collect();
    folders.push(root().join("fuzz"));
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
                found.push((name, text));
            }
        }
    }
    found.sort();
    found
}

/// `(name, lines)` of every function, relying on rustfmt: a body ends at a `}` under its `fn`'s own indentation.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let Some(rest) = trimmed.split("fn ").nth(1).filter(|_| is_function_head(trimmed)) else { continue };
        let name = rest.split(['(', '<']).next().unwrap_or(rest).to_owned();
        let closing = format!("{}}}", " ".repeat(indent));
        if let Some(length) = lines[start..].iter().position(|l| l.trim_end() == closing) {
            found.push((name, length + 1));
        }
    }
    found
}

fn is_function_head(line: &str) -> bool {
    let words = line.split("fn ").next().unwrap_or_default();
    words.split_whitespace().all(|w| {
        matches!(w, "pub" | "async" | "const" | "unsafe" | "extern" | "\"C\"") || w.starts_with("pub(")
    }) && line.contains("fn ")
        && !line.ends_with(';')
        && !line.ends_with('}')
}

/// What is over a limit, as `what -> lines`.
fn over_limits() -> BTreeMap<String, usize> {
    let mut over = BTreeMap::new();
    for (name, text) in sources() {
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            over.insert(name.clone(), lines);
        }
        for (function, lines) in functions(&text) {
            if lines > FUNCTION_LINES_MAX {
                over.insert(format!("{name}::{function}"), lines);
            }
        }
    }
    over
}

#[test]
fn files_and_functions_stay_within_their_limits_or_shrink_towards_them() {
    let ratchet = root().join("tests/tidy-ratchet.txt");
    let text = fs::read_to_string(ratchet).unwrap_or_default();
    let allowed: BTreeMap<&str, usize> = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .map(|line| line.rsplit_once(' ').expect("a name and a length"))
        .map(|(name, lines)| (name, lines.parse().expect("a length")))
        .collect();
    let over = over_limits();
    let grown: Vec<_> =
        over.iter().filter(|(k, v)| allowed.get(k.as_str()).is_none_or(|most| *v > most)).collect();
    assert!(
        grown.is_empty(),
        "too long (files {FILE_LINES_MAX}, functions {FUNCTION_LINES_MAX}): {grown:#?}"
    );
    let stale: Vec<_> = allowed.iter().filter(|(k, v)| over.get(**k).is_none_or(|now| now < *v)).collect();
    assert!(stale.is_empty(), "shorter than tests/tidy-ratchet.txt says, so lower it there: {stale:#?}");
}

#[test]
fn dependencies_point_down() {
    let crates: BTreeMap<String, (&str, u8)> = FLOORS
        .iter()
        .map(|(folder, floor)| {
            let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
            let name = manifest.lines().find_map(|l| l.strip_prefix("name = ")).expect("a name");
            (name.trim_matches('"').to_owned(), (*folder, *floor))
        })
        .collect();
    let mut wrong = Vec::new();
    for (folder, floor) in crates.values() {
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).expect("a manifest");
        let shipped = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in shipped.lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap_or_default();
            if let Some((other, other_floor)) = crates.get(dependency)
                && other_floor >= floor
            {
                wrong.push(format!("{folder} (floor {floor}) depends on {other} (floor {other_floor})"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The client must not know the broker at all, whatever the floors say.
    let client = fs::read_to_string(root().join("client/Cargo.toml")).expect("a manifest");
    let shipped = client.split("[dev-dependencies]").next().unwrap_or_default();
    for room in ["highwater-env", "highwater-core", "highwater-log", "highwater-server"] {
        assert!(!shipped.contains(room), "the client depends on {room}");
    }
}

#[test]
fn every_module_says_what_it_is() {
    let silent: Vec<String> = sources()
        .into_iter()
        .filter(|(name, _)| !name.contains("/examples/") && !name.starts_with("fuzz/"))
        .filter(|(_, text)| !text.lines().next().is_some_and(|line| line.starts_with("//!")))
        .map(|(name, _)| name)
        .collect();
    assert!(silent.is_empty(), "no `//!` on the first line of {silent:#?}");
}

#[test]
fn mod_and_lib_files_hold_no_logic() {
    let mut found = BTreeSet::new();
    for (name, text) in sources() {
        let is_index = name.ends_with("/mod.rs") || name.ends_with("/src/lib.rs");
        if is_index && !name.contains("tests/") {
            let longest = functions(&text).into_iter().map(|(_, lines)| lines).max().unwrap_or(0);
            if longest > 12 {
                found.insert(name);
            }
        }
    }
    assert!(found.is_empty(), "functions of more than a few lines in {found:#?}");
}

/// A table that names tests which are gone proves nothing.
#[test]
fn every_test_that_the_proof_names_is_there() {
    let page = fs::read_to_string(root().join("docs/proof.md")).expect("the page");
    let sources = sources();
    let named =
        page.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('`').skip(1).step_by(2));
    let tests: BTreeSet<&str> = named.filter(|name| name.matches('_').count() >= 3).collect();
    assert!(tests.len() > 40, "the tables are read: {tests:?}");
    let is_there = |test: &&&str| {
        let head = format!("fn {test}(");
        sources.iter().any(|(_, text)| text.contains(&head))
    };
    let gone: Vec<_> = tests.iter().filter(|test| !is_there(test)).collect();
    assert!(gone.is_empty(), "docs/proof.md names tests that are not there: {gone:?}");
}
