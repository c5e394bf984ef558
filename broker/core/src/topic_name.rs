//! Which topic names are legal.
//!
//! Kafka's rule: 1 to 249 characters of `[a-zA-Z0-9._-]`, not `.` or `..`, and no two names that differ only in `.`
//! against `_`, since metrics systems fold the two.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The longest legal name, in characters.
pub const TOPIC_NAME_CHARS_MAX: usize = 249;

/// Why a name is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
pub enum TopicNameError {
    /// Nothing there.
    #[error("a topic name must not be empty")]
    Empty,
    /// Over the limit.
    #[error("a topic name has at most {TOPIC_NAME_CHARS_MAX} characters, this one has {chars}")]
    TooLong {
        /// How many there were.
        chars: usize,
    },
    /// `.` and `..` mean something to file systems.
    #[error("a topic cannot be called '{name}'")]
    Reserved {
        /// The name.
        name: String,
    },
    /// A character outside the alphabet.
    #[error("a topic name is made of a-z, A-Z, 0-9, '.', '_' and '-', so '{character}' cannot stand in it")]
    IllegalCharacter {
        /// The first one that was illegal, escaped.
        character: String,
    },
}

/// Checks one name.
///
/// # Errors
/// [`TopicNameError`] says which rule is broken.
pub fn check(name: &str) -> Result<(), TopicNameError> {
    if name.is_empty() {
        return Err(TopicNameError::Empty);
    }
    if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(TopicNameError::IllegalCharacter { character: bad.escape_default().to_string() });
    }
    if name.len() > TOPIC_NAME_CHARS_MAX {
        return Err(TopicNameError::TooLong { chars: name.len() });
    }
    if name == "." || name == ".." {
        return Err(TopicNameError::Reserved { name: name.to_owned() });
    }
    Ok(())
}

/// The form in which names that collide are equal.
#[must_use]
pub fn collision_key(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_alphabet_pass_and_others_say_why_not() {
        for good in ["a", "a.b_c-D9", &"x".repeat(249), "..."] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(check(""), Err(TopicNameError::Empty));
        assert_eq!(check(&"x".repeat(250)), Err(TopicNameError::TooLong { chars: 250 }));
        assert_eq!(check(".."), Err(TopicNameError::Reserved { name: "..".into() }));
        assert_eq!(check("a/b"), Err(TopicNameError::IllegalCharacter { character: "/".into() }));
        assert_eq!(check("a\n"), Err(TopicNameError::IllegalCharacter { character: "\\n".into() }));
    }
}
