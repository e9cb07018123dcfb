//! Byte streams between a user and an instance: exec, console, logs, files, and the writable layer of a moving allocation.
//!
//! Every stream is a WebSocket of binary messages. The first byte of a message is its channel; the rest is data. The
//! user's side and the agent's side speak the same messages: the controller only splices them.
//!
//! ```text
//! user ── WebSocket /v1/instances/{i}/exec ──▶ controller ◀── WebSocket /agent/v1/streams/{id} ── agent
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AllocationId, Code, ExitStatus, FileRequest, SnapshotId, StreamId};

/// The longest message of a stream, channel byte included: 64 KiB.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most lines of its log that a console shows first.
pub const MAX_SCROLLBACK: u32 = 1000;

/// First byte of a message.
pub mod channel {
    /// To the process's standard input.
    pub const STDIN: u8 = 0;
    /// From its standard output (or terminal).
    pub const STDOUT: u8 = 1;
    /// From its standard error.
    pub const STDERR: u8 = 2;
    /// Last message from the agent: JSON [`super::StreamEnd`].
    pub const END: u8 = 3;
    /// To the terminal: JSON [`super::Resize`].
    pub const RESIZE: u8 = 4;
    /// To the process: JSON [`super::Signal`].
    pub const SIGNAL: u8 = 5;
    /// Standard input has ended.
    pub const STDIN_CLOSE: u8 = 255;
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// Columns.
    pub cols: u16,
    /// Rows.
    pub rows: u16,
}

/// A signal for the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// Its number, 1 to 64.
    pub signal: i32,
}

/// How a stream ended.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StreamEnd {
    /// The process's status, for exec.
    pub exit: Option<ExitStatus>,
    /// Why it could not be done, in a sentence; 126/127 style exit codes come in `exit`.
    pub error: Option<String>,
    /// Kind of the error, where one fits better than "internal".
    #[serde(default)]
    pub code: Option<Code>,
}

/// What a stream carries.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum StreamKind {
    /// A process in a running container.
    Exec {
        /// Command and arguments; never empty.
        command: Vec<String>,
        /// Added to the environment.
        env: BTreeMap<String, String>,
        /// Give it a terminal of this size.
        tty: Option<Resize>,
        /// Whether standard input will be sent; otherwise it is empty.
        stdin: bool,
        /// Whom it runs as, as [`crate::RunAs`] reads it; whom the first process was started as when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Where it begins; where the first process began when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        workdir: Option<String>,
    },
    /// The console of a running container that has its own init.
    Console {
        /// Size of the user's terminal, which the console takes over.
        size: Option<Resize>,
        /// How many lines of its log come first.
        scrollback: u32,
    },
    /// What the first process wrote.
    Logs {
        /// Keep sending new lines.
        follow: bool,
        /// Only the last so many lines; everything kept when absent.
        tail: Option<u32>,
    },
    /// What a running container uses: JSON [`crate::InstanceStats`] on channel 1.
    Stats,
    /// Files of a running container.
    Files(FileRequest),
    /// The writable layer as a tar archive, from the agent on channel 1.
    ExportLayer {
        /// This snapshot of it instead of what it is now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        snapshot: Option<SnapshotId>,
    },
}

/// The controller asks the agent to dial `/agent/v1/streams/{id}`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StreamRequest {
    /// The stream to dial.
    pub id: StreamId,
    /// Of which allocation.
    pub allocation: AllocationId,
    /// What it carries.
    #[serde(flatten)]
    pub kind: StreamKind,
}
