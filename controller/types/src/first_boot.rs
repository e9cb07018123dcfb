//! What an instance is given for its first start only: user data and SSH keys.
//!
//! Users put passwords and tokens into user data, so it is shown by no list, event or log: only the node that has the
//! instance is given it, and then the instance itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest user data: 64 KiB.
pub const MAX_USER_DATA: usize = 64 * 1024;
/// The most SSH keys.
pub const MAX_SSH_KEYS: usize = 64;
/// The longest SSH key: 8 KiB; one of RSA with 16,384 bits has 2,800 bytes.
pub const MAX_SSH_KEY: usize = 8 * 1024;
/// The largest body of a launch with any of this: user data may become six times as long as JSON (384 KiB), and there are
/// keys and the rest beside it (128 KiB). Without, a launch is as small as any other request.
pub const MAX_LAUNCH_BODY: usize = 512 * 1024;

/// Text for cloud-init, or a script: begins with `#cloud-config`, `#!`, and so on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = String, max_length = 65536))]
pub struct UserData(pub String);

impl UserData {
    /// It is a program of its own and not for cloud-init alone.
    #[must_use]
    pub fn is_script(&self) -> bool {
        self.0.starts_with("#!")
    }
}

impl fmt::Debug for UserData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UserData({} bytes)", self.0.len())
    }
}

/// `GET /agent/v1/allocations/{a}/first-boot`, and how controller and agent keep it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FirstBoot {
    /// User data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<UserData>,
    /// Lines of `authorized_keys`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<String>,
}

impl FirstBoot {
    /// There is nothing to give.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.user_data.is_none() && self.ssh_keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{FirstBoot, UserData};

    #[test]
    fn user_data_is_not_shown_by_accident() {
        let secret = FirstBoot { user_data: Some(UserData("password: x".into())), ssh_keys: vec![] };
        assert_eq!(format!("{secret:?}"), "FirstBoot { user_data: Some(UserData(11 bytes)), ssh_keys: [] }");
    }
}
