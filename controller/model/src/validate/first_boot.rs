//! What may be given for a first start.

use roost_types::Problem;
use roost_types::first_boot::{MAX_SSH_KEY, MAX_SSH_KEYS, MAX_USER_DATA};
use roost_types::instance::CreateInstance;

use super::{invalid, shorten};

/// Kinds of SSH keys, and how the base64 of such a key begins: with the kind's own name, as far as its last letters do
/// not share a group with what follows.
const KINDS: [(&str, &str); 7] = [
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("ssh-rsa", "AAAAB3NzaC1yc2E"),
    ("ecdsa-sha2-nistp256", "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTY"),
    ("ecdsa-sha2-nistp384", "AAAAE2VjZHNhLXNoYTItbmlzdHAzODQ"),
    ("ecdsa-sha2-nistp521", "AAAAE2VjZHNhLXNoYTItbmlzdHA1MjE"),
    ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
    ("sk-ecdsa-sha2-nistp256@openssh.com", "AAAAInNrLWVjZHNhLXNoYTItbmlzdHAyNTZAb3BlbnNzaC5jb20"),
];

/// User data and SSH keys of a launch.
pub fn check(request: &CreateInstance) -> Result<(), Problem> {
    let has_command = request.command.is_some();
    if let Some(data) = &request.user_data {
        let length = data.0.len();
        if has_command {
            return Err(without_init("user_data"));
        }
        if length > MAX_USER_DATA || data.0.contains('\0') {
            return Err(invalid("user_data", format!("{length} bytes: at most {MAX_USER_DATA}, and no NUL byte")));
        }
    }
    if has_command && !request.ssh_keys.is_empty() {
        return Err(without_init("ssh_keys"));
    }
    if request.ssh_keys.len() > MAX_SSH_KEYS {
        return Err(invalid("ssh_keys", format!("more than {MAX_SSH_KEYS} keys")));
    }
    let check = |(at, key): (usize, &String)| {
        key_problem(key).map_or(Ok(()), |why| Err(invalid(&format!("ssh_keys[{at}]"), why)))
    };
    request.ssh_keys.iter().enumerate().try_for_each(check)
}

fn without_init(field: &str) -> Problem {
    let detail = "an instance with a command of its own has no first boot: leave the command out for the image's init, or \
                  do it in the command";
    invalid(field, detail)
}

/// Why a text is not one line of `authorized_keys` without options.
fn key_problem(key: &str) -> Option<String> {
    if key.len() > MAX_SSH_KEY || key.chars().any(char::is_control) {
        return Some(format!("a key is one line of at most {MAX_SSH_KEY} bytes, as in a .pub file"));
    }
    let mut words = key.split(' ');
    let (kind, body) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let Some((_, beginning)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let known: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        return Some(format!(
            "'{}' is no kind of key: give the line of a .pub file: {}",
            shorten(kind),
            known.join(", ")
        ));
    };
    let padding = body.len() - body.trim_end_matches('=').len();
    let letters = &body.as_bytes()[..body.len() - padding];
    let is_base64 = letters.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
    let whole = body.len().is_multiple_of(4) && padding <= 2 && is_base64;
    // A private key is never one line, and a key that was cut off is not whole groups or far too short.
    let long_enough = body.len() >= beginning.len() + 32;
    (!(whole && long_enough && body.starts_with(beginning)))
        .then(|| format!("the key after '{kind}' is not whole: give the line of a .pub file as it is"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ1aWx0IGZvciB0aGUgdGVzdHMgb2YgYSByb29zdCEhISEh ann@home";
    const NISTP256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBAtGzeyEzOHAWtuvD0Zv\
                            S/AWwPkpvyDM6UtJPPhQiKUrvLoI6XDm3/L4FqHvpzxN5CkyjHDfAiyI+D1mFBzZJoA=";

    #[test]
    fn keys_are_lines_of_a_pub_file() {
        assert_eq!(key_problem(ED25519), None);
        assert_eq!(key_problem(NISTP256), None);
        let body = ED25519.split(' ').nth(1).unwrap();
        for bad in [
            "",
            "ssh-ed25519",
            "-----BEGIN OPENSSH PRIVATE KEY-----",
            &format!("command=\"sh\" {ED25519}"),
            &format!("ssh-rsa {body}"),
            &format!("ssh-ed25519 {}", &body[..body.len() - 3]),
            &format!("ssh-ed25519 {}", &body[..24]),
            &format!("{ED25519}\nssh-ed25519 {body}"),
            &format!("ssh-ed25519 {} x", body.replace('G', "*")),
        ] {
            assert!(key_problem(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_command_has_no_first_boot() {
        let mut request = CreateInstance::of_image("busybox");
        request.ssh_keys = vec![ED25519.to_owned()];
        assert_eq!(check(&request), Ok(()));
        request.command = Some(vec!["sleep".to_owned()]);
        assert_eq!(check(&request).unwrap_err().field.as_deref(), Some("ssh_keys"));
        request.ssh_keys.clear();
        request.user_data = Some(roost_types::UserData("#!/bin/sh\n".to_owned()));
        assert_eq!(check(&request).unwrap_err().field.as_deref(), Some("user_data"));
    }
}
