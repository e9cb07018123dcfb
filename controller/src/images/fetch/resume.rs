//! A body that goes on where it broke off.
//!
//! The rest is asked for with `Range` and, where the source told one, its validator (`If-Range`): what has changed since is
//! not mixed with what is here. A source that knows no ranges sends all of it again, and what is here is passed over.

use std::time::Duration;

use bytes::{Buf, Bytes};

use super::{Answer, FetchError, Rest};

/// Tries in a row that bring no byte, and the pause before the first; each later one is twice as long.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(250);

/// Something that can be asked for again.
pub trait Ask: Send {
    /// Asks for all of it, or for the rest.
    fn ask(&mut self, rest: Option<Rest<'_>>) -> impl Future<Output = Result<Answer, FetchError>> + Send;
}

/// A body on its way.
pub struct Body<A> {
    source: A,
    answer: Answer,
    /// Bytes handed on.
    at: u64,
    /// Bytes still to come that were handed on before.
    known: u64,
    /// What tells one state of the source from another.
    validator: Option<String>,
    tries: u32,
}

impl<A: Ask> Body<A> {
    /// Asks for it.
    ///
    /// # Errors
    /// Why it does not come.
    pub async fn begin(mut source: A) -> Result<Self, FetchError> {
        let answer = source.ask(None).await?.well()?;
        let validator = validator(&answer);
        Ok(Self { source, answer, at: 0, known: 0, validator, tries: 0 })
    }

    /// Its size in bytes, where the source told it at first.
    pub fn length(&self) -> Option<u64> {
        self.answer.length()
    }

    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// When it broke off and does not go on, or has changed.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match self.answer.chunk().await {
                Ok(None) => return Ok(None),
                Ok(Some(mut bytes)) => {
                    let known = usize::try_from(self.known).map_or(bytes.len(), |known| known.min(bytes.len()));
                    bytes.advance(known);
                    self.known -= known as u64;
                    if !bytes.is_empty() {
                        self.at += bytes.len() as u64;
                        self.tries = 0;
                        return Ok(Some(bytes));
                    }
                }
                Err(FetchError::Failed(why)) => self.go_on(why).await?,
                Err(other) => return Err(other),
            }
        }
    }

    async fn go_on(&mut self, broke_off: String) -> Result<(), FetchError> {
        let mut last = String::new();
        while self.tries < TRIES {
            tokio::time::sleep(PAUSE * 2_u32.pow(self.tries)).await;
            self.tries += 1;
            let rest = Rest { from: self.at, validator: self.validator.as_deref() };
            match self.source.ask(Some(rest)).await {
                Ok(answer) => match answer.status() {
                    206 if answer.begins_at(self.at) => {
                        tracing::info!(at = self.at, "a download goes on where it was");
                        (self.answer, self.known) = (answer, 0);
                        return Ok(());
                    }
                    200 if self.validator.is_none() || validator(&answer) == self.validator => {
                        (self.answer, self.known) = (answer, self.at);
                        return Ok(());
                    }
                    200 => {
                        let why = format!("{} changed it while it was fetched: start again", answer.host());
                        return Err(FetchError::Wrong(why));
                    }
                    status @ (206 | 500..) => last = format!("; then {} answered with status {status}", answer.host()),
                    _ => return answer.well().map(drop),
                },
                Err(FetchError::Failed(why)) => last = format!("; then {why}"),
                Err(other) => return Err(other),
            }
        }
        Err(FetchError::Failed(format!("{broke_off}{last}")))
    }
}

/// A strong entity tag, or else the time of the last change.
fn validator(answer: &Answer) -> Option<String> {
    let tag = answer.header("etag").filter(|tag| !tag.starts_with("W/"));
    tag.or_else(|| answer.header("last-modified")).map(str::to_owned)
}
