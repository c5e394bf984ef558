//! `--name value` pairs for the small programs here, which need no more of a command line than that.

use std::collections::BTreeMap;
use std::str::FromStr;

/// The pairs of a command line.
#[derive(Debug)]
pub struct Flags {
    pairs: BTreeMap<String, String>,
}

impl Flags {
    /// Takes apart what follows the program's name and `skip` words.
    ///
    /// # Panics
    /// When a word is no `--name`, or has no value.
    pub fn from_args(skip: usize) -> Flags {
        let mut pairs = BTreeMap::new();
        let mut words = std::env::args().skip(1 + skip);
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").unwrap_or_else(|| panic!("'{word}' should be a --name"));
            let value = words.next().unwrap_or_else(|| panic!("--{name} needs a value"));
            pairs.insert(name.to_owned(), value);
        }
        Flags { pairs }
    }

    /// The value of `--name`, or `default`.
    ///
    /// # Panics
    /// When the value is of another kind.
    pub fn get<T: FromStr>(&self, name: &str, default: T) -> T {
        match self.pairs.get(name) {
            Some(text) => text.parse().unwrap_or_else(|_| panic!("--{name} cannot be '{text}'")),
            None => default,
        }
    }

    /// The value of `--name`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn text(&self, name: &str) -> &str {
        self.pairs.get(name).unwrap_or_else(|| panic!("--{name} is needed"))
    }
}
