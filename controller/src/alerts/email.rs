//! E-mail: one message to all addresses of a receiver, over SMTP.

use std::time::{Duration, SystemTime};

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message as Mail};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use roost_model::Outcome;

use super::{Message, text};

/// From whom, to whom, by which server.
pub struct Email {
    /// From.
    pub from: Mailbox,
    /// To, at least one.
    pub to: Vec<Mailbox>,
    /// The server, how it is spoken to, and who we are there.
    pub server: AsyncSmtpTransport<Tokio1Executor>,
}

impl Email {
    /// One attempt.
    pub(super) async fn send(&self, message: &Message<'_>) -> Outcome {
        let mail = match self.mail(message) {
            Ok(mail) => mail,
            Err(error) => return Outcome::Refused(format!("the mail cannot be written: {error}")),
        };
        match self.server.send(mail).await {
            Ok(_) => Outcome::Sent,
            Err(error) if error.is_permanent() => Outcome::Refused(error.to_string()),
            Err(error) => Outcome::Again(error.to_string()),
        }
    }

    /// The same message, with the same id, in every attempt.
    fn mail(&self, message: &Message<'_>) -> Result<Mail, lettre::error::Error> {
        let written = Duration::from_millis(u64::try_from(message.notice.created_at.0).unwrap_or(0));
        let mut mail = Mail::builder()
            .from(self.from.clone())
            .subject(text::subject(message))
            .date(SystemTime::UNIX_EPOCH + written)
            .message_id(Some(format!("<{}@{}>", message.notice.id, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            // So that nobody's holiday answers it (RFC 3834).
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ));
        for to in &self.to {
            mail = mail.to(to.clone());
        }
        mail.body(text::body(message))
    }
}
