//! Credentials: SHA-256 digests of tokens and node secrets, and the dashboard's sessions.
//!
//! Tokens are 256 random bits, so a plain digest is enough: nothing can be guessed back from it. No credential itself
//! is kept, logged or written.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use roost_types::{Name, Timestamp};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::random;

/// How long a session of the dashboard lasts.
pub const SESSION_TIME: Duration = Duration::from_secs(12 * 3600);
/// Most sessions at once; the one that ends first makes room.
const MAX_SESSIONS: usize = 1000;

/// A SHA-256.
pub type Sha = [u8; 32];

/// What the controller was given at its start.
#[derive(Default)]
pub struct Credentials {
    admins: Vec<Sha>,
    nodes: Vec<(Sha, Name)>,
}

impl Credentials {
    /// Credentials from digests of admin tokens and of node secrets.
    #[must_use]
    pub fn new(admins: Vec<Sha>, nodes: Vec<(Sha, Name)>) -> Self {
        Self { admins, nodes }
    }

    /// Whether a token lets a person in.
    #[must_use]
    pub fn is_admin(&self, token: &str) -> bool {
        let digest = digest(token);
        // Every entry is compared, so that the time taken says nothing.
        self.admins.iter().fold(false, |found, known| found | bool::from(known.ct_eq(&digest)))
    }

    /// The node whose secret this is.
    #[must_use]
    pub fn node(&self, secret: &str) -> Option<Name> {
        let digest = digest(secret);
        let found = self
            .nodes
            .iter()
            .fold(None, |found, entry| if bool::from(entry.0.ct_eq(&digest)) { Some(entry) } else { found });
        found.map(|(_, name)| name.clone())
    }

    /// Names of the nodes that have a secret.
    pub fn node_names(&self) -> impl Iterator<Item = &Name> {
        self.nodes.iter().map(|(_, name)| name)
    }
}

/// SHA-256 of a text.
#[must_use]
pub fn digest(text: &str) -> Sha {
    Sha256::digest(text.as_bytes()).into()
}

/// 64 hexadecimal digits as a digest.
#[must_use]
pub fn parse_sha(hex: &str) -> Option<Sha> {
    let digits = hex.as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut sha = [0; 32];
    for (byte, pair) in sha.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(sha)
}

/// Bytes as lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Sessions of the dashboard, in memory: after a restart people sign in again.
#[derive(Default)]
pub struct Sessions {
    /// Digest of the session's secret, and when it ends.
    ends: Mutex<HashMap<Sha, Timestamp>>,
}

impl Sessions {
    /// Begins a session and returns its secret.
    pub fn begin(&self, now: Timestamp) -> std::io::Result<String> {
        let secret = hex(&random::bytes::<32>()?);
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.retain(|_, end| *end > now);
        if ends.len() >= MAX_SESSIONS
            && let Some(first) = ends.iter().min_by_key(|(_, end)| **end).map(|(sha, _)| *sha)
        {
            ends.remove(&first);
        }
        ends.insert(digest(&secret), now.plus(SESSION_TIME));
        Ok(secret)
    }

    /// Whether a session lasts.
    pub fn is_valid(&self, secret: &str, now: Timestamp) -> bool {
        let ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(&digest(secret)).is_some_and(|end| *end > now)
    }

    /// Ends a session.
    pub fn end(&self, secret: &str) {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest(secret));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_lets_in() {
        let node: Name = "n01".parse().unwrap();
        let known = Credentials::new(vec![digest("admin")], vec![(digest("secret"), node.clone())]);
        assert!(known.is_admin("admin") && !known.is_admin("secret") && !known.is_admin(""));
        assert_eq!(known.node("secret"), Some(node));
        assert_eq!(known.node("admin"), None);
    }

    #[test]
    fn a_digest_reads_back_as_written() {
        let sha = digest("x");
        assert_eq!(parse_sha(&hex(&sha)), Some(sha));
        for bad in ["", "00", &"g".repeat(64), &"+f".repeat(32), &"ä".repeat(32)] {
            assert_eq!(parse_sha(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_session_ends_by_time_and_by_wish() {
        let sessions = Sessions::default();
        let secret = sessions.begin(Timestamp(0)).unwrap();
        assert!(sessions.is_valid(&secret, Timestamp(1)));
        assert!(!sessions.is_valid(&secret, Timestamp(0).plus(SESSION_TIME)));
        assert!(!sessions.is_valid("other", Timestamp(1)));
        sessions.end(&secret);
        assert!(!sessions.is_valid(&secret, Timestamp(1)));
    }
}
