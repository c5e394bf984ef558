//! What handlers say alike: why a part of a request was refused, and how a part that stands in it twice is found.

use std::collections::HashSet;
use std::fmt::Display;
use std::hash::Hash;

use highwater_proto::ErrorCode;
use kafka_protocol::protocol::StrBytes;

use crate::listener::error_map::Coded;
use crate::service::Mode;

/// Why a part of a request was refused.
#[derive(Debug)]
pub(in crate::listener::kafka) struct Problem {
    code: ErrorCode,
    text: String,
}

impl Problem {
    pub(in crate::listener::kafka) fn new(code: ErrorCode, text: impl Display) -> Problem {
        Problem { code, text: text.to_string() }
    }

    /// The request contradicts itself.
    pub(in crate::listener::kafka) fn invalid(text: impl Display) -> Problem {
        Problem::new(ErrorCode::InvalidRequest, text)
    }

    /// The number on the wire.
    pub(super) fn number(&self) -> i16 {
        self.code.number()
    }

    /// For a person.
    pub(super) fn message(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.text.clone()))
    }
}

impl<E: Coded> From<E> for Problem {
    fn from(error: E) -> Problem {
        Problem::new(error.code(), &error)
    }
}

/// An outcome as the wire has it: number and message.
pub(super) fn told(outcome: &Result<(), Problem>) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (0, None),
        Err(problem) => (problem.number(), problem.message()),
    }
}

/// The resources with what tells them apart; those that stand there more than once are refused.
pub(super) fn once<R, I: Eq + Hash>(
    resources: Vec<R>,
    identity: impl Fn(&R) -> I,
) -> Vec<(I, Result<R, Problem>)> {
    let identities: Vec<I> = resources.iter().map(identity).collect();
    let refused: Vec<bool> = {
        let repeated = repeated(identities.iter());
        identities.iter().map(|identity| repeated.contains(identity)).collect()
    };
    let judged = resources.into_iter().zip(refused).map(|(resource, refused)| match refused {
        true => Err(Problem::invalid("each resource must stand in the request once")),
        false => Ok(resource),
    });
    identities.into_iter().zip(judged).collect()
}

/// What stands more than once among these.
pub(super) fn repeated<T: Eq + Hash + Copy>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|one| !seen.insert(*one)).collect()
}

/// Whether to carry a change out.
pub(super) fn mode(validate_only: bool) -> Mode {
    if validate_only { Mode::ValidateOnly } else { Mode::Apply }
}

/// Client text in a message: nothing that a terminal would act on.
pub(in crate::listener::kafka) fn shown(text: &str) -> std::str::EscapeDefault<'_> {
    text.escape_default()
}
