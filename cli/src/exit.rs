//! How a command ends: an exit code that means something, and one or two lines that say what and what to do.

use std::io::{self, Write};
use std::process::ExitCode;

use highwater_client::{AdminError, ConnectError, ConsumeError, ProduceError};

/// The exit codes, as `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Unreachable = 4,
    Damaged = 5,
    Interrupted = 130,
}

/// Why a command did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    /// Empty: the exit code says it all.
    pub(crate) message: String,
    /// What would be right.
    pub(crate) hint: Option<String>,
}

pub(crate) type CliResult<T = ()> = Result<T, CliError>;

impl CliError {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> CliError {
        CliError { exit, message: message.into(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> CliError {
        CliError::new(Exit::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError::new(Exit::Usage, message)
    }

    pub(crate) fn interrupted() -> CliError {
        CliError::new(Exit::Interrupted, "")
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }

    /// Prints the message and gives the process its exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let mut stderr = io::stderr().lock();
        if !self.message.is_empty() {
            // Nothing is left to do about a standard error that is closed.
            let _ = writeln!(stderr, "error: {}", self.message);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(stderr, "  hint: {hint}");
        }
        ExitCode::from(self.exit as u8)
    }
}

impl From<ConnectError> for CliError {
    fn from(error: ConnectError) -> CliError {
        match &error {
            ConnectError::Config(_) => CliError::usage(error.to_string()),
            ConnectError::Unreachable { addresses, reason } => {
                CliError::new(Exit::Unreachable, format!("cannot connect to {addresses}: {reason}")).hint(
                    "`highwater dev` starts a broker here; --bootstrap or HIGHWATER_BOOTSTRAP names another",
                )
            }
        }
    }
}

impl From<AdminError> for CliError {
    fn from(error: AdminError) -> CliError {
        let exit = match &error {
            AdminError::Connect(error) => return CliError::from(error.clone()),
            AdminError::TimedOut { .. } => Exit::Unreachable,
            AdminError::Rpc { .. } if error.is_retriable() => Exit::Unreachable,
            _ if error.is_not_found() => Exit::NotFound,
            _ => Exit::Failed,
        };
        CliError::new(exit, error.to_string())
    }
}

impl From<ProduceError> for CliError {
    fn from(error: ProduceError) -> CliError {
        let exit = match &error {
            ProduceError::Metadata { source, .. } => return CliError::from(source.clone()),
            ProduceError::Config(_) => Exit::Usage,
            ProduceError::UnknownPartition { .. } => Exit::NotFound,
            ProduceError::TimedOut { .. } => Exit::Unreachable,
            _ => Exit::Failed,
        };
        CliError::new(exit, error.to_string())
    }
}

impl From<ConsumeError> for CliError {
    fn from(error: ConsumeError) -> CliError {
        let exit = match &error {
            ConsumeError::Metadata(source) => return CliError::from(source.clone()),
            ConsumeError::Config(_) => Exit::Usage,
            ConsumeError::UnknownPartition { .. } => Exit::NotFound,
            ConsumeError::Corrupt { .. } => Exit::Damaged,
            _ => Exit::Failed,
        };
        CliError::new(exit, error.to_string())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::failed(error.to_string())
    }
}
