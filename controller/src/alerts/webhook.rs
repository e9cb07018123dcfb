//! Webhooks: one POST per message, signed as [Standard Webhooks](https://www.standardwebhooks.com) has it.
//!
//! The URL may itself be a secret (chats work that way), so that no error, log line or answer tells more of it than its host.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::Full;
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use roost_model::Outcome;
use roost_types::notice::{ALERTS, TEST};
use roost_types::{NoticeData, WebhookBody};
use rustls::ClientConfig;
use sha2::Sha256;
use url::{Host, Position, Url};

use super::{Message, text};
use crate::images::fetch::{Answer, FetchError, exchange, resolve};

/// Characters kept of what a receiver answers with a bad status.
const KEPT_ANSWER: usize = 200;

/// Where to, and how.
pub struct Webhook {
    /// http or https, without user and password.
    pub url: Url,
    /// What requests are signed with.
    pub secret: Option<Vec<u8>>,
    /// Who is trusted.
    pub tls: Arc<ClientConfig>,
}

impl Webhook {
    /// One attempt. Redirects are not followed: they would carry alerts to where nobody sent them.
    pub(super) async fn send(&self, message: &Message<'_>) -> Outcome {
        match self.post(message).await {
            Ok(answer) => outcome(answer).await,
            // Nothing of it is for ever: names and certificates are mended without us.
            Err(error) => Outcome::Again(error.to_string()),
        }
    }

    async fn post(&self, message: &Message<'_>) -> Result<Answer, FetchError> {
        let body = body(message)?;
        let id = message.notice.id.to_string();
        let timestamp = (crate::clock::now().0 / 1000).to_string();
        let mut request = Request::post(&self.url[Position::BeforePath..Position::AfterQuery])
            .header(HOST, &self.url[Position::BeforeHost..Position::AfterPort])
            .header(USER_AGENT, concat!("roost/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", &timestamp);
        if let Some(secret) = &self.secret {
            request = request.header("webhook-signature", sign(secret, &id, &timestamp, &body)?);
        }
        let request =
            request.body(Full::new(body)).map_err(|_| FetchError::Failed("the URL cannot be asked for".into()))?;
        exchange(&self.url, &self.addresses().await?, &self.tls, request).await
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, FetchError> {
        let (Some(host), Some(port)) = (self.url.host(), self.url.port_or_known_default()) else {
            return Err(FetchError::Failed("the URL names no host".to_owned()));
        };
        match host {
            Host::Ipv4(address) => Ok(vec![(IpAddr::V4(address), port).into()]),
            Host::Ipv6(address) => Ok(vec![(IpAddr::V6(address), port).into()]),
            Host::Domain(name) => resolve(name, port).await,
        }
    }
}

/// What the receiver's answer means: it has the message, will never take it, or may later.
async fn outcome(mut answer: Answer) -> Outcome {
    let (status, host) = (answer.status(), answer.host().to_owned());
    if (200..300).contains(&status) {
        return Outcome::Sent;
    }
    if (300..400).contains(&status) {
        return Outcome::Refused(format!("{host} answered with status {status}: redirects are not followed"));
    }
    let said = answer.chunk().await.ok().flatten().unwrap_or_default();
    let said: String = String::from_utf8_lossy(&said).trim().chars().take(KEPT_ANSWER).collect();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let why = format!("{host} answered with status {status}{said}");
    match status {
        408 | 429 => Outcome::Again(why),
        400..500 => Outcome::Refused(why),
        _ => Outcome::Again(why),
    }
}

/// The same bytes in every attempt.
fn body(message: &Message<'_>) -> Result<Bytes, FetchError> {
    let notice = message.notice;
    let body = WebhookBody {
        kind: if message.test { TEST } else { ALERTS }.to_owned(),
        timestamp: notice.created_at,
        text: format!("{}\n{}", text::subject(message), text::body(message)),
        data: NoticeData { id: notice.id, alerts: notice.items.clone(), more: notice.more.len() },
    };
    let bytes =
        serde_json::to_vec(&body).map_err(|error| FetchError::Failed(format!("the message is no JSON: {error}")))?;
    Ok(bytes.into())
}

/// `v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY` in base64.
fn sign(secret: &[u8], id: &str, timestamp: &str, body: &[u8]) -> Result<String, FetchError> {
    let unusable = |_| FetchError::Failed("the secret cannot be used".to_owned());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(unusable)?;
    for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
        mac.update(part);
    }
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification's own libraries.
    #[test]
    fn a_signature_is_the_one_of_the_specification() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let signature = sign(&secret, id, timestamp, br#"{"test": 2432232314}"#).unwrap();
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
