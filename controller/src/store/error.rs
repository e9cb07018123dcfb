//! What can go wrong with the store, and how a caller hears of it.

use std::path::PathBuf;

use roost_types::{Code, Problem};

/// SQLite's primary result code for "database or disk is full".
const SQLITE_FULL: i32 = 13;

/// A step of the store that failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another controller has the state directory.
    #[error("{path}: another controller uses this state directory")]
    InUse { path: PathBuf },
    /// The lock file could not be made.
    #[error("cannot lock {path}")]
    Lock { path: PathBuf, source: std::io::Error },
    /// The database could not be opened.
    #[error("cannot open the database {path}")]
    Open { path: PathBuf, source: sqlx::Error },
    /// The tables could not be brought up to date.
    #[error("cannot bring the database up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// A table could not be read.
    #[error("cannot read table {table}")]
    Read { table: &'static str, source: sqlx::Error },
    /// A row is not what this version understands.
    #[error("table {table} has a row that cannot be understood")]
    BadRow { table: &'static str, source: serde_json::Error },
    /// There is no room.
    #[error("the disk or database is full")]
    Full(#[source] sqlx::Error),
    /// A write failed for another reason.
    #[error("cannot write to the database")]
    Write(#[source] sqlx::Error),
}

impl StoreError {
    /// Sorts a failed write into "full" and the rest.
    pub(super) fn write(error: sqlx::Error) -> Self {
        if is_full(&error) { Self::Full(error) } else { Self::Write(error) }
    }

    /// What a caller is told: the details stay in the log.
    #[must_use]
    pub fn problem(&self) -> Problem {
        match self {
            Self::Full(_) => Problem::new(
                Code::StoreFull,
                "the controller's disk is full: nothing was changed; make room and try again",
            ),
            Self::InUse { .. }
            | Self::Lock { .. }
            | Self::Open { .. }
            | Self::Migrate(_)
            | Self::Read { .. }
            | Self::BadRow { .. }
            | Self::Write(_) => Problem::new(
                Code::Unavailable,
                "the controller could not store the change: nothing was changed; try again",
            ),
        }
    }
}

fn is_full(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i32>().ok());
            code.is_some_and(|code| code & 0xff == SQLITE_FULL) || database.message().contains("disk is full")
        }
        sqlx::Error::Io(io) => io.kind() == std::io::ErrorKind::StorageFull,
        _ => false,
    }
}
