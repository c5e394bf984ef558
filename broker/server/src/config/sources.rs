//! Raw settings from file, environment and flags, merged by name. Only names are judged here.

use std::collections::BTreeMap;

use highwater_core::settings;
use thiserror::Error;

use super::keys::{self, KEYS};

/// Prefix of every environment variable that sets something.
const ENV_PREFIX: &str = "HIGHWATER_";
/// Variables with our prefix that belong to the command line.
const ENV_OTHERS: &[&str] = &["HIGHWATER_BOOTSTRAP", "HIGHWATER_CONFIG", "HIGHWATER_LOG", "HIGHWATER_OUTPUT"];
/// Prefix of the broker's defaults for topic settings.
pub(super) const TOPIC_DEFAULT: &str = "topic.default.";

/// Why a configuration is refused: the key, what is wrong with it, what would be right.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("{file} is not valid TOML: {problem}")]
    Syntax {
        /// The file's name.
        file: String,
        /// What the parser says, with the line.
        problem: String,
    },
    /// No such key.
    #[error("'{name}' (from {origin}) is not a setting of the broker{suggestion}")]
    Unknown {
        /// As written.
        name: String,
        /// Where it was written.
        origin: String,
        /// The nearest key, as a sentence, or nothing.
        suggestion: String,
    },
    /// A value that doesn't fit.
    #[error("{name}={value} (from {origin}) is not legal: {expected}")]
    Illegal {
        /// The key.
        name: String,
        /// As written.
        value: String,
        /// Where it was written.
        origin: String,
        /// What would be right.
        expected: String,
    },
    /// A key that has no default.
    #[error("{name} is not set: {remedy}")]
    Missing {
        /// The key.
        name: &'static str,
        /// How to set it.
        remedy: &'static str,
    },
}

/// A value and who gave it.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: String,
    pub(super) origin: String,
}

/// Raw settings by name; a later source wins over an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub(super) given: BTreeMap<String, Given>,
}

impl Sources {
    /// No source yet: every setting has its default.
    #[must_use]
    pub fn new() -> Sources {
        Sources::default()
    }

    /// Adds the text of a TOML file called `file`.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`], or an unknown or unusable key.
    pub fn file(mut self, file: &str, text: &str) -> Result<Sources, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax {
            file: file.to_owned(),
            problem: error.to_string().trim_end().to_owned(),
        })?;
        self.add_table("", &table, file)?;
        Ok(self)
    }

    /// Adds environment variables; those without our prefix are passed over.
    ///
    /// # Errors
    /// A variable with our prefix that names no setting.
    pub fn environment(
        mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<Sources, ConfigError> {
        for (variable, value) in variables {
            let Some(rest) = variable.strip_prefix(ENV_PREFIX) else { continue };
            if ENV_OTHERS.contains(&variable.as_str()) {
                continue;
            }
            let dotted = rest.to_ascii_lowercase().replace('_', ".");
            self.set(&dotted, &value, &format!("environment variable {variable}"))?;
        }
        Ok(self)
    }

    /// Sets one key, from a flag for example.
    ///
    /// # Errors
    /// [`ConfigError::Unknown`].
    pub fn set(&mut self, name: &str, value: &str, origin: &str) -> Result<(), ConfigError> {
        let known = keys::find(name).is_some()
            || name.strip_prefix(TOPIC_DEFAULT).is_some_and(|topic_key| settings::key(topic_key).is_some());
        if !known {
            let (name, origin) = (name.to_owned(), origin.to_owned());
            return Err(ConfigError::Unknown { suggestion: suggestion(&name), name, origin });
        }
        self.given
            .insert(name.to_owned(), Given { value: value.trim().to_owned(), origin: origin.to_owned() });
        Ok(())
    }

    fn add_table(&mut self, prefix: &str, table: &toml::Table, file: &str) -> Result<(), ConfigError> {
        for (part, value) in table {
            let name = if prefix.is_empty() { part.clone() } else { format!("{prefix}.{part}") };
            match value {
                toml::Value::Table(inner) => self.add_table(&name, inner, file)?,
                toml::Value::String(text) => self.set(&name, text, file)?,
                toml::Value::Integer(_) | toml::Value::Boolean(_) | toml::Value::Float(_) => {
                    self.set(&name, &value.to_string(), file)?;
                }
                toml::Value::Array(_) | toml::Value::Datetime(_) => {
                    return Err(ConfigError::Illegal {
                        name,
                        value: value.to_string(),
                        origin: file.to_owned(),
                        expected: "it must be a string, a number, true or false".to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// "; did you mean …?" when a known key shares most of its parts with the one written.
fn suggestion(name: &str) -> String {
    if let Some(topic_key) = name.strip_prefix(TOPIC_DEFAULT).and_then(settings::closest_key) {
        return format!("; did you mean '{TOPIC_DEFAULT}{topic_key}'?");
    }
    let likeness = |key: &str| {
        let shared = key.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
        let shared_end = key.chars().rev().zip(name.chars().rev()).take_while(|(a, b)| a == b).count();
        shared + shared_end
    };
    let best = KEYS.iter().map(|key| (likeness(key.name), key.name)).max();
    match best {
        Some((score, best)) if score * 2 > best.len() => format!("; did you mean '{best}'?"),
        _ => String::new(),
    }
}
