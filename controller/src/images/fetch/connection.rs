//! One request over one connection to an address that policy has seen.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, IF_RANGE, LOCATION, RANGE, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::{FetchError, Fetcher, policy};

/// How long connecting, the handshake and each silence may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked for.
#[derive(Clone, Copy, Default)]
pub struct Fetch<'a> {
    /// Media types that are understood.
    pub accept: Option<&'a str>,
    /// A bearer token.
    pub token: Option<&'a str>,
    /// Only the rest is wanted.
    pub rest: Option<Rest<'a>>,
}

/// What is missing of a body.
#[derive(Clone, Copy)]
pub struct Rest<'a> {
    /// Bytes that are here.
    pub from: u64,
    /// Only if the source is still the one with this validator.
    pub validator: Option<&'a str>,
}

/// An answer whose body is still to come.
#[derive(Debug)]
pub struct Answer {
    host: String,
    response: Response<Incoming>,
}

impl Fetcher {
    /// Asks for a URL, if that may be asked.
    ///
    /// # Errors
    /// Why it may not be asked, or no answer came. Any status is an answer.
    pub async fn get(&self, url: &Url, fetch: Fetch<'_>) -> Result<Answer, FetchError> {
        let addresses = self.addresses(url).await?;
        exchange(url, &addresses, &self.tls, request(url, fetch)?).await
    }

    /// The addresses of a URL's host, all of them allowed.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, FetchError> {
        let refuse = |why: String| Err(FetchError::Refused(why));
        let plain = match url.scheme() {
            "https" => false,
            "http" => true,
            other => return refuse(format!("'{other}' URLs are not fetched: use https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("a URL with a user or password is not fetched".to_owned());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return refuse("the URL names no host".to_owned());
        };
        let addresses: Vec<SocketAddr> = match host {
            Host::Ipv4(address) => vec![(IpAddr::V4(address), port).into()],
            Host::Ipv6(address) => vec![(IpAddr::V6(address), port).into()],
            Host::Domain(name) => resolve(name, port).await?,
        };
        for address in &addresses {
            let ip = address.ip();
            if !policy::may_ask(ip, &self.allowed) {
                let literal = host.to_string().trim_matches(['[', ']']) == ip.to_string();
                let which = if literal { format!("{ip}") } else { format!("{host} has {ip},") };
                return refuse(format!(
                    "{which} {verb} a private or special address: an operator can allow its network with \
                     --allow-image-sources",
                    verb = if literal { "is" } else { "which is" },
                ));
            }
            if plain && !policy::is_allowed(ip, &self.allowed) {
                return refuse(format!("{host} is not fetched from by plain http: use https"));
            }
        }
        if addresses.is_empty() { refuse(format!("{host} has no address")) } else { Ok(addresses) }
    }
}

/// The addresses of a name.
///
/// # Errors
/// When nobody knows it, or not in time.
pub async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
    let found = in_time(name, lookup_host((name, port))).await?;
    Ok(found.map_err(|error| FetchError::Failed(format!("'{name}' cannot be resolved: {error}")))?.collect())
}

/// Sends one request for a URL to the first of the addresses that answers; by TLS if the URL says https. Takes up no redirect.
///
/// # Errors
/// Why no answer came. Any status is an answer. No error tells more of the URL than its host.
pub async fn exchange<B>(
    url: &Url,
    addresses: &[SocketAddr],
    tls: &Arc<ClientConfig>,
    request: Request<B>,
) -> Result<Answer, FetchError>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let host = url.host_str().unwrap_or_default().to_owned();
    let stream = connect(addresses, &host).await?;
    let response = if url.scheme() == "https" {
        let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
        let name = name.map_err(|_| FetchError::Refused(format!("'{host}' cannot have a certificate")))?;
        let stream = in_time(&host, TlsConnector::from(Arc::clone(tls)).connect(name, stream)).await?;
        let stream = stream.map_err(|error| FetchError::Failed(format!("{host}: {error}")))?;
        send(stream, request, &host).await?
    } else {
        send(stream, request, &host).await?
    };
    Ok(Answer { host, response })
}

/// Connects to the first address that answers.
async fn connect(addresses: &[SocketAddr], host: &str) -> Result<TcpStream, FetchError> {
    let mut last = String::new();
    for address in addresses {
        match in_time(host, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("{host} cannot be reached: {error}"),
            Err(error) => last = error.to_string(),
        }
    }
    Err(FetchError::Failed(last))
}

fn request(url: &Url, fetch: Fetch<'_>) -> Result<Request<Empty<Bytes>>, FetchError> {
    let authority = &url[url::Position::BeforeHost..url::Position::AfterPort];
    let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let mut request = Request::get(target).header(HOST, authority);
    request = request.header(USER_AGENT, concat!("roost/", env!("CARGO_PKG_VERSION")));
    if let Some(accept) = fetch.accept {
        request = request.header(ACCEPT, accept);
    }
    if let Some(token) = fetch.token {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        request = request.header(AUTHORIZATION, value.map_err(|_| FetchError::Failed("the token is unusable".into()))?);
    }
    if let Some(Rest { from, validator }) = fetch.rest {
        request = request.header(RANGE, format!("bytes={from}-"));
        if let Some(validator) = validator {
            request = request.header(IF_RANGE, validator);
        }
    }
    request.body(Empty::new()).map_err(|error| FetchError::Refused(format!("the URL cannot be asked for: {error}")))
}

async fn send<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<B>,
    host: &str,
) -> Result<Response<Incoming>, FetchError>
where
    B: Body<Data = Bytes, Error = Infallible> + Send + 'static,
{
    let broken = |error: hyper::Error| FetchError::Failed(format!("{host} did not answer properly: {error}"));
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the body, or when that is dropped.
    tokio::spawn(connection);
    in_time(host, sender.send_request(request)).await?.map_err(broken)
}

async fn in_time<T>(host: &str, work: impl Future<Output = T>) -> Result<T, FetchError> {
    timeout(PATIENCE, work).await.map_err(|_| FetchError::Failed(format!("{host} did not answer in time")))
}

impl Answer {
    /// The status.
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// Who answered.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether this part of the whole begins at that byte.
    pub fn begins_at(&self, byte: u64) -> bool {
        self.header("content-range").is_some_and(|range| range.starts_with(&format!("bytes {byte}-")))
    }

    /// Only an answer that is well.
    ///
    /// # Errors
    /// The status, if it is another than 200.
    pub fn well(self) -> Result<Self, FetchError> {
        match self.status() {
            200 => Ok(self),
            status => Err(FetchError::Status { host: self.host, status }),
        }
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// Where a redirect leads, seen from `base`.
    pub fn redirect(&self, base: &Url) -> Option<Url> {
        let is_redirect = matches!(self.status(), 301 | 302 | 303 | 307 | 308);
        let location = self.response.headers().get(LOCATION).filter(|_| is_redirect)?;
        base.join(location.to_str().ok()?).ok()
    }

    /// Size of the body in bytes, where it is told.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length")?.parse().ok()
    }

    /// The next bytes of the body; none at its end.
    ///
    /// # Errors
    /// When it breaks off or falls silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, FetchError> {
        loop {
            match in_time(&self.host, self.response.body_mut().frame()).await? {
                None => return Ok(None),
                Some(Err(error)) => return Err(FetchError::Failed(format!("{} broke off: {error}", self.host))),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// The whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// As [`Answer::chunk`], and when it is longer.
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, FetchError> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if bytes.len() + chunk.len() > limit {
                return Err(FetchError::Wrong(format!("{} sent more than {limit} bytes", self.host)));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}
