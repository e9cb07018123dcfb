//! The way to the supervisor of a rack in a box: one JSON line there, one JSON line back.

use std::path::PathBuf;
use std::time::Duration;

use roost_types::dev::{DevCommand, DevReply};
use roost_types::{Code, Problem};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// How long the supervisor may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Longest answer.
const MAX_REPLY: u64 = 64 * 1024;

/// The supervisor's socket.
#[derive(Clone, Debug)]
pub struct DevSocket(PathBuf);

impl DevSocket {
    /// The socket at this path.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Asks the supervisor to do something.
    ///
    /// # Errors
    /// `unavailable` when it cannot be reached or does not answer in time.
    pub async fn send(&self, command: &DevCommand) -> Result<DevReply, Problem> {
        let failed = |cause: String| Problem::new(Code::Unavailable, format!("the supervisor of the box {cause}"));
        match tokio::time::timeout(TIMEOUT, self.exchange(command)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(error)) => Err(failed(format!("cannot be asked: {error}"))),
            Err(_) => Err(failed("did not answer within 30 s".to_owned())),
        }
    }

    async fn exchange(&self, command: &DevCommand) -> std::io::Result<DevReply> {
        let mut stream = UnixStream::connect(&self.0).await?;
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut reply = String::new();
        BufReader::new(stream.take(MAX_REPLY)).read_line(&mut reply).await?;
        Ok(serde_json::from_str(&reply)?)
    }
}
