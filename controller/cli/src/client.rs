//! The client of the public REST API: one function per kind of request, problems as errors.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use roost_types::{Code, Operation, Page, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::context::Context;
use crate::error::CliError;

/// How long one request may be held by the controller while waiting for an operation.
const WAIT_SECONDS: u64 = 25;

/// A connection to one controller.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    context: Context,
}

/// What slow work gave back: the thing itself when it settled in time, else the receipt.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Settled.
    Done(T),
    /// Still going on.
    Accepted(Box<Operation>),
}

impl Client {
    /// A client of the controller of a context.
    ///
    /// # Errors
    /// When the context asks for what this build cannot do, or the HTTP client cannot be made.
    pub fn new(context: Context) -> Result<Self, CliError> {
        if !context.url.starts_with("http://") {
            return Err(CliError::Usage(format!("the context's url '{}' must begin with http://", context.url)));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            .build()
            .map_err(|e| CliError::step("making the HTTP client", e))?;
        Ok(Self { http, context })
    }

    /// The controller's base address.
    #[must_use]
    pub fn url(&self) -> &str {
        self.context.url.trim_end_matches('/')
    }

    /// The bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.context.token
    }

    /// A request with the credential on it.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url())).bearer_auth(&self.context.token)
    }

    /// Sends a request; an error status becomes the problem in its body.
    ///
    /// # Errors
    /// When the controller cannot be reached or refuses.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let response = request.send().await.map_err(|e| self.unreachable(&e))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.bytes().await.unwrap_or_default();
        Err(CliError::Refused(Box::new(problem_of(status, &body))))
    }

    /// `GET` of a JSON document.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CliError> {
        self.json(self.send(self.request(Method::GET, path)).await?).await
    }

    /// Every page of a list. `path` may have a query.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, CliError> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut items = Vec::new();
        let mut cursor = None::<String>;
        loop {
            let page = match &cursor {
                None => format!("{path}{joint}limit={}", roost_types::page::MAX_LIMIT),
                Some(at) => format!("{path}{joint}limit={}&cursor={}", roost_types::page::MAX_LIMIT, segment(at)),
            };
            let Page { items: mut more, next_cursor } = self.get::<Page<T>>(&page).await?;
            items.append(&mut more);
            match next_cursor {
                Some(next) if Some(&next) != cursor.as_ref() => cursor = Some(next),
                Some(_) | None => return Ok(items),
            }
        }
    }

    /// A request that changes something and may take a while; with a body or none.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Outcome<T>, CliError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request).await?;
        if response.status() == StatusCode::ACCEPTED {
            return Ok(Outcome::Accepted(Box::new(self.json(response).await?)));
        }
        Ok(Outcome::Done(self.json(response).await?))
    }

    /// A request whose answer does not matter beyond success.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn act(&self, method: Method, path: &str) -> Result<Option<Operation>, CliError> {
        self.act_with(method, path, None::<&()>).await
    }

    /// The same with a body or none.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub async fn act_with(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Option<Operation>, CliError> {
        let mut request = self.request(method, path);
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = self.send(request).await?;
        if response.status() == StatusCode::ACCEPTED { Ok(Some(self.json(response).await?)) } else { Ok(None) }
    }

    /// Follows an operation to its end, telling `seen` of every change.
    ///
    /// # Errors
    /// As [`Self::send`]; a failed operation is not an error of this function.
    pub async fn follow(
        &self,
        mut operation: Operation,
        mut seen: impl FnMut(&Operation),
    ) -> Result<Operation, CliError> {
        loop {
            seen(&operation);
            if operation.status.is_final() {
                return Ok(operation);
            }
            let path = format!("/v1/operations/{}/wait", operation.id);
            let request = self.request(Method::GET, &path).header("Prefer", format!("wait={WAIT_SECONDS}"));
            let next: Operation = self.json(self.send(request).await?).await?;
            if next == operation {
                // A controller that answers at once must not be asked in a tight loop.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            operation = next;
        }
    }

    /// The body of an answer.
    ///
    /// # Errors
    /// When it is not what was expected.
    pub async fn json<T: DeserializeOwned>(&self, response: Response) -> Result<T, CliError> {
        let path = response.url().path().to_owned();
        let body = response.bytes().await.map_err(|e| self.unreachable(&e))?;
        serde_json::from_slice(&body).map_err(|e| CliError::step(format!("reading the answer of {path}"), e))
    }

    /// The error for a request that did not arrive or whose answer broke off.
    pub fn unreachable(&self, error: &reqwest::Error) -> CliError {
        let mut reason = error.to_string();
        let mut cause = std::error::Error::source(error);
        while let Some(inner) = cause {
            reason = inner.to_string();
            cause = inner.source();
        }
        CliError::Unreachable { url: self.url().to_owned(), reason }
    }
}

/// The problem a refused request carries; an answer that is none becomes one.
fn problem_of(status: StatusCode, body: &[u8]) -> Problem {
    serde_json::from_slice(body).unwrap_or_else(|_| {
        let code = Code::ALL.iter().copied().find(|c| c.status() == status.as_u16()).unwrap_or(Code::Internal);
        let text = String::from_utf8_lossy(&body[..body.len().min(200)]);
        let text = if text.trim().is_empty() { "no explanation was given".into() } else { text };
        let mut problem = Problem::new(code, format!("the controller answered {status}: {text}"));
        problem.status = status.as_u16();
        problem
    })
}

/// A text as one segment of a path or one value of a query: everything but unreserved characters is escaped.
#[must_use]
pub fn segment(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(segment("web-1"), "web-1");
        assert_eq!(segment("../a?b=c&d e"), "..%2Fa%3Fb%3Dc%26d%20e");
        assert_eq!(segment("ä"), "%C3%A4");
    }

    #[test]
    fn an_answer_that_is_no_problem_becomes_one() {
        let problem = problem_of(StatusCode::NOT_FOUND, b"");
        assert_eq!((problem.code, problem.status), (Code::NotFound, 404));
        assert!(problem.detail.contains("no explanation"));
        let sent = Problem::new(Code::NameTaken, "x");
        assert_eq!(problem_of(StatusCode::CONFLICT, &serde_json::to_vec(&sent).unwrap()), sent);
    }
}
