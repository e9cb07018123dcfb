//! Whom a process of an instance runs as, as a person writes it: `USER[:GROUP]`, each a name or a number.
//!
//! Names are looked up inside the instance, in its own `/etc/passwd` and `/etc/group`, by the process itself. What is all
//! digits is always a number, never a name, and a number that is no id of an instance is refused here: nothing is ever cut
//! down to fit.

use std::fmt;
use std::str::FromStr;

/// The largest id inside an instance.
pub const MAX_ID: u32 = 65_535;
/// The longest `USER[:GROUP]` in bytes.
pub const MAX_RUN_AS: usize = 64;

/// A user or group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Principal {
    /// By its number inside the instance, 0 to [`MAX_ID`].
    Id(u32),
    /// By its name.
    Name(String),
}

/// Whom a process runs as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunAs {
    /// The user.
    pub user: Principal,
    /// Its one group; the user's own groups when absent.
    pub group: Option<Principal>,
}

impl FromStr for Principal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if text.is_empty() || !text.bytes().all(plain) {
            return Err(format!("'{text}' is not a name or number"));
        }
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self::Name(text.to_owned()));
        }
        let number = text.parse::<u32>().ok().filter(|id| *id <= MAX_ID);
        number.map(Self::Id).ok_or_else(|| format!("{text} is no id of an instance, which has 0 to {MAX_ID}"))
    }
}

impl FromStr for RunAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() > MAX_RUN_AS {
            return Err(format!("USER[:GROUP] has {} bytes; at most {MAX_RUN_AS} are possible", text.len()));
        }
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        Ok(Self { user: user.parse()?, group: group.map(str::parse).transpose()? })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_groups_are_names_or_numbers() {
        let name = |text: &str| Principal::Name(text.to_owned());
        for (text, user, group) in [
            ("1", Principal::Id(1), None),
            ("0065535", Principal::Id(65_535), None),
            ("www-data", name("www-data"), None),
            ("app:0", name("app"), Some(Principal::Id(0))),
            ("7:x.y_z", Principal::Id(7), Some(name("x.y_z"))),
            ("0x0", name("0x0"), None),
        ] {
            assert_eq!(text.parse(), Ok(RunAs { user, group }), "{text}");
        }
    }

    /// CVE-2024-40635: a number beyond 32 bits that wrapped became root.
    #[test]
    fn a_number_that_does_not_fit_is_refused_and_never_wrapped() {
        for text in ["65536", "4294967295", "4294967296", "18446744073709551616", "1:65536", "99999999999999999999:0"] {
            let refused = text.parse::<RunAs>().unwrap_err();
            assert!(refused.contains("0 to 65535"), "{text}: {refused}");
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in ["", ":", "a:", ":0", "a:b:c", "+0", "a b", "root\n", "a/b", "ä", &"a".repeat(65)] {
            assert!(text.parse::<RunAs>().is_err(), "{text:?}");
        }
        // A name that begins with a sign is nobody's, but it is no number either.
        assert_eq!("-1".parse::<RunAs>().unwrap().user, Principal::Name("-1".to_owned()));
    }
}
