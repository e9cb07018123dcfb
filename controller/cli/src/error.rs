//! What can go wrong in a verb, and how it is told: one or two lines that say what to do.

use std::io;

use roost_types::Problem;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The controller refused.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// The controller could not be reached.
    #[error("cannot reach the controller at {url}: {reason}")]
    Unreachable {
        /// Where it was expected.
        url: String,
        /// What happened.
        reason: String,
    },
    /// There is no way to know which controller is meant.
    #[error("no context: {0}")]
    NoContext(String),
    /// The command line asks for something that makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Anything else, as a sentence that names the step.
    #[error("{0}")]
    Failed(String),
    /// Output could not be written.
    #[error("writing output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// A failure with the step that failed in front.
    pub fn step(step: impl std::fmt::Display, why: impl std::fmt::Display) -> Self {
        Self::Failed(format!("{step}: {why}"))
    }

    /// 2 for wrong usage, 1 for the rest.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Refused(_) | Self::Unreachable { .. } | Self::NoContext(_) | Self::Failed(_) | Self::Output(_) => 1,
        }
    }

    /// The lines shown on standard error.
    #[must_use]
    pub fn for_people(&self) -> String {
        match self {
            Self::Refused(problem) => {
                let place = problem.field.as_ref().map(|field| format!(", field '{field}'")).unwrap_or_default();
                format!("error: {}\n       ({}{place})", problem.detail, problem.code)
            }
            Self::Unreachable { .. } => {
                format!(
                    "error: {self}\n       start a rack with `roost dev`, or name another context with ROOST_CONTEXT"
                )
            }
            Self::NoContext(_) | Self::Usage(_) | Self::Failed(_) | Self::Output(_) => format!("error: {self}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use roost_types::Code;

    use super::*;

    #[test]
    fn a_refusal_shows_detail_code_and_field() {
        let problem = Problem::new(Code::InvalidField, "memory must be at least 8 MiB").field("memory_bytes");
        let error = CliError::Refused(Box::new(problem));
        assert_eq!(
            error.for_people(),
            "error: memory must be at least 8 MiB\n       (invalid_field, field 'memory_bytes')"
        );
        assert_eq!(error.exit_code(), 1);
        assert_eq!(CliError::Usage("x".into()).exit_code(), 2);
    }
}
