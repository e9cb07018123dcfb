//! The last steps of a process: whom it runs as, where it begins, what it may do, and the program it becomes.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, OFlags};

use super::identity::Identity;
use super::plan::{DEFAULT_PATH, Profile};
use super::seccomp::Program;
use super::wire::{Context, Failure};
use super::{child, sys};
use crate::files::way;

/// A command inside a container.
pub struct Command<'a> {
    /// Profile that it gets.
    pub profile: Profile,
    /// Filter of that profile.
    pub program: &'a Program,
    /// Command and arguments.
    pub words: &'a [String],
    /// Environment, `NAME=value`; `HOME` is added where it lacks.
    pub environment: &'a [String],
    /// Whom it runs as, as [`roost_types::RunAs`] reads it; empty for root.
    pub user: &'a str,
    /// Where it begins.
    pub workdir: Workdir<'a>,
}

/// Where a command begins; empty for the root.
#[derive(Clone, Copy)]
pub enum Workdir<'a> {
    /// Where the image wants it: made where it lacks.
    Made(&'a str),
    /// Where somebody wants it: it must be there.
    There(&'a str),
}

impl Command<'_> {
    /// Gives up every privilege that the profile and the user do not have and becomes the command. To be called as the
    /// container's root, inside. Returns only when that failed.
    pub fn execute(&self) -> Failure {
        match self.prepare() {
            Ok(identity) => self.become_program(&identity.home),
            Err(failure) => failure,
        }
    }

    fn prepare(&self) -> Result<Identity, Failure> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", flags, Mode::empty()).step(|| "open the container's root")?;
        let identity = Identity::find(root.as_fd(), self.user)?;
        self.workdir.enter(root.as_fd())?;
        let input = io::stdin();
        if identity.uid != 0 && rustix::termios::isatty(&input) {
            // What opens its own terminal by name must be allowed to.
            let user = rustix::fs::Uid::from_raw(identity.uid);
            rustix::fs::fchown(&input, Some(user), None).step(|| format!("give the terminal to {}", identity.uid))?;
        }
        child::restrict(self.profile, self.program)?;
        if !self.user.is_empty() {
            identity.take()?;
        }
        Ok(identity)
    }

    fn become_program(&self, home: &str) -> Failure {
        let mut environment = self.environment.to_vec();
        if !environment.iter().any(|entry| entry.starts_with("HOME=")) {
            environment.push(format!("HOME={home}"));
        }
        let strings =
            |items: &[String]| items.iter().map(|item| CString::new(item.as_str())).collect::<Result<Vec<_>, _>>();
        let (Ok(arguments), Ok(variables)) = (strings(self.words), strings(&environment)) else {
            return cannot("a NUL byte in the command or its environment");
        };
        let Some(name) = self.words.first() else {
            return Failure::Command { code: 127, message: "the command is empty".into() };
        };
        let mut worst = libc::ENOENT;
        for path in candidates(name, &environment) {
            let Ok(path) = CString::new(path) else { continue };
            match sys::execve(&path, &arguments, &variables).raw_os_error().unwrap_or(libc::EIO) {
                libc::ENOENT | libc::ENOTDIR => {}
                errno => worst = errno,
            }
        }
        if worst == libc::ENOENT {
            return Failure::Command { code: 127, message: format!("{}: not found", shown(name)) };
        }
        cannot(&format!("{}: {}", shown(name), io::Error::from_raw_os_error(worst)))
    }
}

impl Workdir<'_> {
    fn enter(self, root: BorrowedFd<'_>) -> Result<(), Failure> {
        let path = match self {
            Self::Made("") | Self::There("") => return Ok(()),
            Self::Made(path) | Self::There(path) => path,
        };
        let refused = |why: String| cannot(&format!("begin in {}: {why}", shown(path)));
        roost_types::file::check_path(path).map_err(refused)?;
        let directory = match self {
            Self::Made(_) => way::ensure_directory(root, path).map_err(|error| crate::errors::chain(&error)),
            Self::There(_) => {
                way::open(root, path, OFlags::PATH | OFlags::DIRECTORY).map_err(|error| error.to_string())
            }
        };
        rustix::process::fchdir(directory.map_err(refused)?).map_err(|error| refused(error.to_string()))?;
        // A second fence: what is not below the root has no path.
        let here = rustix::process::getcwd(Vec::new()).map_err(|error| refused(error.to_string()))?;
        if here.as_bytes().starts_with(b"/") { Ok(()) } else { Err(refused("it is outside of the root".to_owned())) }
    }
}

fn cannot(why: &str) -> Failure {
    Failure::Command { code: 126, message: why.to_owned() }
}

/// A report has a limit, a name has none.
fn shown(name: &str) -> String {
    name.chars().take(256).collect()
}

/// Where a command may be: itself when it has a slash, else in each directory of the environment's `PATH`.
fn candidates(name: &str, environment: &[String]) -> Vec<String> {
    if name.contains('/') {
        return vec![name.to_owned()];
    }
    let path = environment.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or(DEFAULT_PATH);
    path.split(':').map(|directory| format!("{}/{name}", if directory.is_empty() { "." } else { directory })).collect()
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn a_name_is_looked_for_along_the_path() {
        let environment = ["PATH=/a::/b".to_owned()];
        assert_eq!(candidates("x", &environment), ["/a/x", "./x", "/b/x"]);
        assert_eq!(candidates("./x", &environment), ["./x"]);
    }
}
