//! Fetching from elsewhere on a user's word, without being made a tool against the rack's own network.
//!
//! A name is resolved once, every address it has is checked by [`policy`], and the connection goes to one of those very
//! addresses: no packet leaves before that, and what the name says later does not matter. There are no proxies and no
//! redirects but those a caller takes up as a new request, which is checked like the first. What breaks off goes on where it
//! was ([`resume`]), in requests that are checked like the first too.

mod connection;
mod layout;
pub mod policy;
pub mod registry;
mod resume;
pub mod web;

use std::sync::Arc;

use ipnet::IpNet;
use roost_types::{Code, Problem};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

pub use connection::{Answer, Fetch, Rest, exchange, resolve};

/// Fetches what policy allows.
pub struct Fetcher {
    allowed: Vec<IpNet>,
    tls: Arc<ClientConfig>,
}

impl Fetcher {
    /// Trusts this machine's certificates; `allowed` are the private networks an operator lets images come from.
    ///
    /// # Errors
    /// When the TLS library cannot be set up.
    pub fn new(allowed: Vec<IpNet>) -> Result<Self, rustls::Error> {
        Ok(Self { allowed, tls: tls_client(Vec::new())? })
    }
}

/// TLS as a client that trusts this machine's certificates, and these.
///
/// # Errors
/// When one of these is no certificate, or the TLS library cannot be set up.
pub fn tls_client(more: Vec<CertificateDer<'static>>) -> Result<Arc<ClientConfig>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Some stores hold certificates that nobody can read; the others still count.
    let _ = roots.add_parsable_certificates(found.certs);
    for certificate in more {
        roots.add(certificate)?;
    }
    if roots.is_empty() {
        tracing::warn!(
            "this machine has no certificate authorities (package ca-certificates): nothing can be reached by https"
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Why something cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address may not be asked.
    #[error("{0}")]
    Refused(String),
    /// No or no proper answer.
    #[error("{0}")]
    Failed(String),
    /// It is not what was promised.
    #[error("{0}")]
    Wrong(String),
    /// The answer's status.
    #[error("{host} answered with status {status}")]
    Status {
        /// Who.
        host: String,
        /// What.
        status: u16,
    },
    /// This machine.
    #[error(transparent)]
    Here(#[from] Problem),
}

impl FetchError {
    /// What the operation shows; `field` is the one that named the source.
    pub fn problem(self, field: &str) -> Problem {
        match self {
            Self::Refused(detail) => Problem::new(Code::InvalidField, detail).field(field),
            Self::Failed(detail) => Problem::new(Code::Unavailable, detail).field(field),
            Self::Wrong(detail) => Problem::new(Code::InvalidImage, detail).field(field),
            Self::Status { host, status: 401 | 403 | 404 } => {
                let detail = format!("{host} has no such image, or does not give it to everyone");
                Problem::new(Code::InvalidField, detail).field(field)
            }
            Self::Status { .. } => Problem::new(Code::Unavailable, self.to_string()).field(field),
            Self::Here(problem) => problem,
        }
    }
}
