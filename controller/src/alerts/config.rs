//! `alerts.yaml`: who is told of alerts. Secrets are in files or the environment, never in it; every error names the field.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, Tokio1Executor};
use roost_types::{Name, Severity};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;
use url::Url;

use super::{Email, Receiver, Receivers, Way, Webhook};
use crate::config::{ConfigError, read};
use crate::images::fetch::tls_client;

/// The shortest secret that is worth the name, in bytes.
const MIN_SECRET: usize = 16;
/// How long connecting to an address of an SMTP server may take.
const CONNECT: Duration = Duration::from_secs(10);

/// The whole file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct AlertsFile {
    webhooks: Vec<WebhookEntry>,
    emails: Vec<EmailEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookEntry {
    name: Name,
    url: Option<String>,
    url_file: Option<PathBuf>,
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    ca_file: Option<PathBuf>,
    #[serde(default = "warning")]
    severity: Severity,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmailEntry {
    name: Name,
    server: String,
    port: Option<u16>,
    #[serde(default)]
    tls: Encryption,
    user: Option<String>,
    password_file: Option<PathBuf>,
    password_env: Option<String>,
    ca_file: Option<PathBuf>,
    from: String,
    to: Vec<String>,
    #[serde(default = "warning")]
    severity: Severity,
}

/// How the way to an SMTP server is kept private.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Encryption {
    /// The connection begins plain and must become TLS before anything is said.
    #[default]
    Starttls,
    /// TLS from the first byte.
    Implicit,
    /// Everything is readable on the way.
    None,
}

const fn warning() -> Severity {
    Severity::Warning
}

/// A field and what is wrong with it.
type Wrong = (&'static str, String);

/// Reads the file.
///
/// # Errors
/// When it or a file that it names cannot be read, or a field cannot be used.
pub fn read_file(path: &Path) -> Result<Receivers, ConfigError> {
    let file: AlertsFile = read(path)?;
    let wrong = |place: String, (field, why): Wrong| ConfigError::Content {
        path: path.to_owned(),
        message: format!("{place}.{field}: {why}"),
    };
    let mut all: Vec<Receiver> = Vec::new();
    for (index, entry) in file.webhooks.into_iter().enumerate() {
        all.push(webhook(entry, &all).map_err(|why| wrong(format!("webhooks[{index}]"), why))?);
    }
    for (index, entry) in file.emails.into_iter().enumerate() {
        all.push(email(entry, &all).map_err(|why| wrong(format!("emails[{index}]"), why))?);
    }
    Ok(Receivers::new(all))
}

fn webhook(entry: WebhookEntry, others: &[Receiver]) -> Result<Receiver, Wrong> {
    only_one(&entry.name, others)?;
    let (field, text) = match (entry.url, entry.url_file) {
        (Some(url), None) => ("url", url),
        (None, Some(file)) => ("url_file", secret_of("url_file", &file)?),
        (Some(_), Some(_)) => return Err(("url", "give either url or url_file".to_owned())),
        (None, None) => return Err(("url", "is missing: give it, or url_file".to_owned())),
    };
    let url = Url::parse(&text).map_err(|error| (field, format!("is not a URL: {error}")))?;
    if !matches!(url.scheme(), "https" | "http") || url.host_str().is_none() {
        return Err((field, "is not a URL that begins with https:// or http:// and a host".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err((
            field,
            "has a user or password, which is not sent: let the receiver check the signature".to_owned(),
        ));
    }
    let secret = secret("secret_file", entry.secret_file, "secret_env", entry.secret_env)?;
    let secret = secret.map(|(field, text)| key(field, &text)).transpose()?;
    let tls = tls_client(certificates(entry.ca_file.as_deref())?).map_err(|error| ("ca_file", error.to_string()))?;
    Ok(Receiver::new(entry.name, entry.severity, Way::Webhook(Webhook { url, secret, tls })))
}

fn email(entry: EmailEntry, others: &[Receiver]) -> Result<Receiver, Wrong> {
    only_one(&entry.name, others)?;
    let mailbox = |field, text: &str| {
        text.parse::<Mailbox>().map_err(|error| (field, format!("'{text}' is not an address: {error}")))
    };
    let from = mailbox("from", &entry.from)?;
    let to = entry.to.iter().map(|text| mailbox("to", text)).collect::<Result<Vec<_>, _>>()?;
    if to.is_empty() {
        return Err(("to", "names nobody".to_owned()));
    }
    if entry.server.is_empty() || entry.server.contains([':', '/', ' ', '@']) {
        return Err(("server", format!("'{}' is not a host name: the port is a field of its own", entry.server)));
    }
    let password = secret("password_file", entry.password_file, "password_env", entry.password_env)?;
    let credentials = match (entry.user, password) {
        (None, None) => None,
        (Some(_), Some(_)) if entry.tls == Encryption::None => {
            return Err((
                "tls",
                "'none' would show the password to everyone on the way: use starttls or implicit".to_owned(),
            ));
        }
        (Some(user), Some((_, password))) => Some(Credentials::new(user, password)),
        (Some(_), None) => return Err(("user", "has no password_file or password_env".to_owned())),
        (None, Some((field, _))) => return Err((field, "has no user".to_owned())),
    };
    let tls = |ca: Option<&Path>| -> Result<TlsParameters, Wrong> {
        let mut parameters = TlsParameters::builder(entry.server.clone());
        for certificate in certificates(ca)? {
            let certificate =
                Certificate::from_der(certificate.to_vec()).map_err(|error| ("ca_file", error.to_string()))?;
            parameters = parameters.add_root_certificate(certificate);
        }
        parameters.build().map_err(|error| ("ca_file", error.to_string()))
    };
    let (port, tls) = match entry.tls {
        Encryption::Starttls => (587, Tls::Required(tls(entry.ca_file.as_deref())?)),
        Encryption::Implicit => (465, Tls::Wrapper(tls(entry.ca_file.as_deref())?)),
        Encryption::None => (25, Tls::None),
    };
    let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(entry.server)
        .port(entry.port.unwrap_or(port))
        .tls(tls)
        .timeout(Some(CONNECT));
    if let Some(credentials) = credentials {
        server = server.credentials(credentials);
    }
    Ok(Receiver::new(entry.name, entry.severity, Way::Email(Email { from, to, server: server.build() })))
}

fn only_one(name: &Name, others: &[Receiver]) -> Result<(), Wrong> {
    let taken = others.iter().any(|other| other.name == *name);
    if taken { Err(("name", format!("'{name}' is there twice"))) } else { Ok(()) }
}

/// The secret in a file or an environment variable, and the field that named it.
fn secret(
    file_field: &'static str,
    file: Option<PathBuf>,
    env_field: &'static str,
    variable: Option<String>,
) -> Result<Option<(&'static str, String)>, Wrong> {
    match (file, variable) {
        (None, None) => Ok(None),
        (Some(file), None) => Ok(Some((file_field, secret_of(file_field, &file)?))),
        (None, Some(variable)) => match std::env::var(&variable) {
            Ok(value) if !value.trim().is_empty() => Ok(Some((env_field, value.trim().to_owned()))),
            Ok(_) | Err(_) => Err((env_field, format!("the environment has no {variable}"))),
        },
        (Some(_), Some(_)) => Err((env_field, format!("give either {file_field} or {env_field}"))),
    }
}

/// The one line of a file.
fn secret_of(field: &'static str, path: &Path) -> Result<String, Wrong> {
    let text = std::fs::read_to_string(path).map_err(|error| (field, format!("{}: {error}", path.display())))?;
    match text.trim() {
        line if line.is_empty() || line.lines().count() > 1 => {
            Err((field, format!("{}: is not one line", path.display())))
        }
        line => Ok(line.to_owned()),
    }
}

/// The bytes that requests are signed with: base64 behind `whsec_`, or the text itself.
fn key(field: &'static str, text: &str) -> Result<Vec<u8>, Wrong> {
    let key = match text.strip_prefix("whsec_") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| (field, "is not base64 behind 'whsec_'".to_owned()))?,
        None => text.as_bytes().to_vec(),
    };
    if key.len() < MIN_SECRET {
        return Err((field, format!("the secret is too short: {} bytes of {MIN_SECRET}", key.len())));
    }
    Ok(key)
}

/// The certificates in a PEM file.
fn certificates(path: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, Wrong> {
    let Some(path) = path else { return Ok(Vec::new()) };
    let bad = |why: String| ("ca_file", format!("{}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found.map_err(|error| bad(error.to_string()))? {
        none if none.is_empty() => Err(bad("has no certificate in PEM".to_owned())),
        some => Ok(some),
    }
}

#[cfg(test)]
mod tests;
