//! Whom a process runs as: `USER[:GROUP]`, looked up in the container's own `/etc/passwd` and `/etc/group` by the process
//! itself, once it is inside. What those files say is the container's: however they are made, they decide about ids of the
//! container and delay nobody but the process that reads them.

use std::fs::File;
use std::io::Read;
use std::os::fd::BorrowedFd;

use roost_types::RunAs;
use roost_types::run_as::{MAX_ID, Principal};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::process::DumpableBehavior;

use super::wire::{Context, Failure};
use crate::files::way;

/// The longest `/etc/passwd` or `/etc/group` that is read.
const MAX_FILE: u64 = 1 << 20;
/// Home of a user that is not in `/etc/passwd`.
const NO_HOME: &str = "/";

/// Ids and home of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// User inside the container.
    pub uid: u32,
    /// Group inside the container.
    pub gid: u32,
    /// Its other groups.
    pub groups: Vec<u32>,
    /// Its home directory.
    pub home: String,
}

impl Identity {
    /// The container's root, as whom everything runs that is not asked to be somebody else.
    #[must_use]
    pub fn root() -> Self {
        Self { uid: 0, gid: 0, groups: Vec::new(), home: "/root".to_owned() }
    }

    /// Looks `wanted` up below `root`; [`Self::root`] when it is empty.
    ///
    /// # Errors
    /// [`Failure::Command`] that says what is wrong with `wanted` or the files.
    pub fn find(root: BorrowedFd<'_>, wanted: &str) -> Result<Self, Failure> {
        if wanted.is_empty() {
            return Ok(Self::root());
        }
        let found = wanted.parse::<RunAs>().and_then(|run_as| {
            let files = (read(root, "/etc/passwd")?, read(root, "/etc/group")?);
            resolve(&run_as, &files.0, &files.1)
        });
        found.map_err(|why| Failure::Command { code: 126, message: format!("run as {wanted}: {why}") })
    }

    /// Takes the ids. Whoever is not root has no capability afterwards.
    ///
    /// # Errors
    /// The step that failed.
    pub fn take(&self) -> Result<(), Failure> {
        use nix::unistd::{Gid, Uid};
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        nix::unistd::setgroups(&groups).step(|| format!("take {} groups", groups.len()))?;
        let (user, group) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        nix::unistd::setresgid(group, group, group).step(|| format!("take the group id {}", self.gid))?;
        nix::unistd::setresuid(user, user, user).step(|| format!("take the user id {}", self.uid))?;
        // A change of user ids can make a process dumpable, and this one is a copy of the keeper until it is executed.
        rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).step(|| "become non-dumpable")
    }
}

/// The lines of a file; none where there is no such file.
fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, String> {
    // It may be anything: what blocks or has side effects is neither waited for nor read.
    let file = match way::open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(format!("open {path}: {error}")),
    };
    let kind = fstat(&file).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if kind != Ok(FileType::RegularFile) {
        return Err(format!("{path} is not a file"));
    }
    let mut bytes = Vec::new();
    File::from(file).take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| format!("read {path}: {error}"))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(format!("{path} is larger than {} MiB", MAX_FILE >> 20));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What the files say of whom is wanted.
fn resolve(wanted: &RunAs, passwd: &str, group: &str) -> Result<Identity, String> {
    let user = User::find(&wanted.user, passwd)?;
    let named = match &wanted.group {
        None => None,
        Some(Principal::Id(gid)) => Some(*gid),
        Some(Principal::Name(name)) => Some(group_id(name, group)?),
    };
    // Whoever names a group wants that one and no other.
    let groups = match (&named, &user.name) {
        (None, Some(name)) => groups_of(name, group)?,
        (Some(_), _) | (None, None) => Vec::new(),
    };
    Ok(Identity { uid: user.uid, gid: named.unwrap_or(user.gid), groups, home: user.home })
}

/// A line of `/etc/passwd`, or a number without one.
struct User {
    name: Option<String>,
    uid: u32,
    gid: u32,
    home: String,
}

impl User {
    fn find(wanted: &Principal, passwd: &str) -> Result<Self, String> {
        let is_wanted = |fields: &Vec<&str>| match wanted {
            Principal::Id(uid) => fields.get(2).is_some_and(|field| field.parse() == Ok(*uid)),
            Principal::Name(name) => fields.first() == Some(&name.as_str()),
        };
        match (lines(passwd).find(is_wanted), wanted) {
            (Some(fields), _) => Self::of_line(&fields),
            (None, Principal::Id(uid)) => Ok(Self { name: None, uid: *uid, gid: 0, home: NO_HOME.to_owned() }),
            (None, Principal::Name(name)) => Err(format!("there is no user {name} in the instance's /etc/passwd")),
        }
    }

    fn of_line(fields: &[&str]) -> Result<Self, String> {
        let [name, _, uid, gid, rest @ ..] = fields else {
            return Err("a line of the instance's /etc/passwd has too few fields".to_owned());
        };
        let home = rest.get(1).copied().filter(|home| home.starts_with('/') && !home.contains('\0'));
        Ok(Self {
            name: Some((*name).to_owned()),
            uid: id(uid, "/etc/passwd")?,
            gid: id(gid, "/etc/passwd")?,
            home: home.unwrap_or(NO_HOME).to_owned(),
        })
    }
}

fn group_id(name: &str, group: &str) -> Result<u32, String> {
    let found = lines(group).find(|fields| fields.first() == Some(&name));
    let field = found.as_ref().and_then(|fields| fields.get(2));
    id(field.ok_or_else(|| format!("there is no group {name} in the instance's /etc/group"))?, "/etc/group")
}

/// The groups that have the user as a member.
fn groups_of(user: &str, group: &str) -> Result<Vec<u32>, String> {
    let has_user = |fields: &Vec<&str>| fields.get(3).is_some_and(|members| members.split(',').any(|one| one == user));
    let mut all = lines(group)
        .filter(has_user)
        .map(|fields| id(fields.get(2).copied().unwrap_or_default(), "/etc/group"))
        .collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().map(|line| line.split(':').collect())
}

/// A number of a file, which is an id of the container or nothing.
fn id(field: &str, file: &str) -> Result<u32, String> {
    let digits = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
    let number = field.parse().ok().filter(|id| digits && *id <= MAX_ID);
    number.ok_or_else(|| {
        let shown: String = field.chars().take(32).collect();
        format!("'{shown}' in the instance's {file} is no id of it, which are 0 to {MAX_ID}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001:A:/srv/app:/bin/sh\nnohome:x:7:8\n\
                          wraps:x:4294967296:0::/:\nminus:x:-1:0::/:\nhigh:x:70000:0::/:\nshort:x\n";
    const GROUP: &str = "root:x:0:\nstaff:x:50:app,other\nwheel:x:10:other,app\nbad:x:99999999999:victim\n";

    fn found(wanted: &str) -> Result<Identity, String> {
        resolve(&wanted.parse()?, PASSWD, GROUP)
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Identity {
        Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() }
    }

    #[test]
    fn a_user_is_found_by_name_and_by_number() {
        for (wanted, expected) in [
            ("root", identity(0, 0, &[], "/root")),
            ("app", identity(1000, 1001, &[10, 50], "/srv/app")),
            ("1000", identity(1000, 1001, &[10, 50], "/srv/app")),
            ("app:staff", identity(1000, 50, &[], "/srv/app")),
            ("app:3", identity(1000, 3, &[], "/srv/app")),
            ("4711", identity(4711, 0, &[], "/")),
            ("nohome", identity(7, 8, &[], "/")),
        ] {
            assert_eq!(found(wanted), Ok(expected), "{wanted}");
        }
    }

    /// CVE-2026-30892: user 1 was taken for root.
    #[test]
    fn user_one_is_user_one() {
        assert_eq!(found("1"), Ok(identity(1, 0, &[], "/")));
        assert_eq!(found("1:1"), Ok(identity(1, 1, &[], "/")));
    }

    /// CVE-2024-40635, from the other side: a number of the file that wraps.
    #[test]
    fn no_number_of_the_files_becomes_another() {
        for wanted in ["wraps", "minus", "high", "app:bad", "short"] {
            assert!(found(wanted).is_err(), "{wanted}: {:?}", found(wanted));
        }
        assert!(resolve(&"victim".parse().unwrap(), "victim:x:5:5::/:\n", GROUP).is_err(), "a group beyond 32 bits");
    }

    #[test]
    fn whoever_is_not_there_is_named() {
        assert!(found("nobody-knows").unwrap_err().contains("no user nobody-knows"));
        assert!(found("app:nobody-knows").unwrap_err().contains("no group nobody-knows"));
    }
}
