//! The controller as the agent sees it: an address to dial, a credential, HTTP/1.1 connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, HOST, HeaderValue};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long the controller may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where the controller is and how the node proves who it is.
#[derive(Clone)]
pub struct Controller(Arc<Inner>);

struct Inner {
    host: String,
    port: u16,
    authority: HeaderValue,
    bearer: HeaderValue,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.0.host, self.0.port)
    }
}

/// An address that cannot be dialled.
#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not http://HOST[:PORT]")]
pub struct BadUrl(String);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// No connection.
    #[error("connect to {0}")]
    Connect(String, #[source] std::io::Error),
    /// It took too long.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The request could not be made.
    #[error("make a request")]
    Request(#[source] hyper::http::Error),
    /// The connection broke, or what came was not HTTP.
    #[error("talk over HTTP")]
    Http(#[from] hyper::Error),
}

impl Controller {
    /// From a URL and the node's secret.
    pub fn new(url: &str, secret: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| bad())?;
        let plain = uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri.host().filter(|_| plain).ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
        let authority = uri.authority().ok_or_else(bad)?.as_str();
        let mut bearer = HeaderValue::from_str(&format!("Bearer {secret}")).map_err(|_| bad())?;
        bearer.set_sensitive(true);
        Ok(Self(Arc::new(Inner {
            port: uri.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority).map_err(|_| bad())?,
            host,
            bearer,
        })))
    }

    /// Its host, a name or an address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// A TCP connection of its own.
    pub async fn dial(&self) -> Result<TcpStream, HttpError> {
        let name = format!("{self:?}");
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect((self.host(), self.port())))
            .await
            .map_err(|_| HttpError::Timeout(name.clone()))?
            .map_err(|source| HttpError::Connect(name.clone(), source))?;
        stream.set_nodelay(true).map_err(|source| HttpError::Connect(name, source))?;
        Ok(stream)
    }

    /// A keep-alive HTTP connection of its own.
    pub async fn connect(&self) -> Result<Connection, HttpError> {
        let (sender, connection) = http1::handshake(TokioIo::new(self.dial().await?)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the controller ended");
            }
        });
        Ok(Connection { controller: self.clone(), sender })
    }

    /// A request with host and credential set.
    pub fn request(&self, method: Method, path: &str) -> hyper::http::request::Builder {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.0.authority.clone())
            .header(AUTHORIZATION, self.0.bearer.clone())
    }
}

impl Controller {
    /// Adds the credential to the headers of a request made elsewhere.
    pub fn authorize(&self, headers: &mut hyper::HeaderMap) {
        headers.insert(AUTHORIZATION, self.0.bearer.clone());
    }
}

/// One keep-alive connection.
pub struct Connection {
    controller: Controller,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    /// The other side has not closed it while it was idle.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends `request` and waits at most `limit` for the head of the answer.
    pub async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Response<Incoming>, HttpError> {
        let exchange = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        match timeout(limit, exchange).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(HttpError::Timeout(format!("{:?}", self.controller))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Controller;

    #[test]
    fn reads_an_address_and_never_shows_the_secret() {
        let controller = Controller::new("http://10.0.0.1:7700", "s3cret").unwrap();
        assert_eq!((controller.host(), controller.port()), ("10.0.0.1", 7700));
        assert!(!format!("{controller:?}").contains("s3cret"));
        for bad in ["", "10.0.0.1", "https://x", "http://x/path", "http://x?q=1"] {
            assert!(Controller::new(bad, "s").is_err(), "{bad}");
        }
    }
}
