//! How the keeper starts: its options, its lock, its mount namespace, its socket.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::fcntl::{Flock, FlockArg};
use nix::sched::CloneFlags;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::cgroup::{Cgroups, disk::Disk};
use super::child::{Programs, note};
use super::container::Tools;
use super::facilities::{Facilities, Facility};
use super::holder::Holder;
use super::image_mounts::ImageMounts;
use super::netlink::Netlink;
use super::overlay::Stage;
use super::state::{self, Paths};
use super::transit::Transit;
use super::wire::{Context, Failure};
use super::{init, keeper, sys};

/// The `keeper` subcommand: `--state DIR --run-dir DIR --cgroup-parent PATH [--without FACILITY]...`.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match Options::parse(arguments).and_then(|options| serve(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            note(&describe(&failure));
            ExitCode::FAILURE
        }
    }
}

/// A failure in one line for the keeper's log.
fn describe(failure: &Failure) -> String {
    match failure {
        Failure::NoContainer(id) => format!("no container {id}"),
        Failure::NotRunning => "not running".to_owned(),
        Failure::NotFrozen => "not frozen".to_owned(),
        Failure::Command { message, .. } | Failure::Unsupported(message) => message.clone(),
        Failure::Step { step, errno } => format!("{step}: {}", io::Error::from_raw_os_error(*errno)),
    }
}

struct Options {
    paths: Paths,
    cgroup_parent: PathBuf,
    without: BTreeSet<Facility>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let (mut state, mut run, mut cgroup_parent) = (None, None, None);
        let mut without = BTreeSet::new();
        while let Some(name) = arguments.next() {
            let value = arguments.next().map(PathBuf::from);
            match name.to_str() {
                Some("--state") => state = value,
                Some("--run-dir") => run = value,
                Some("--cgroup-parent") => cgroup_parent = value,
                Some("--without") => {
                    let masked = value.unwrap_or_default().to_string_lossy().parse::<Facility>();
                    without.insert(masked.map_err(|error| Failure::Unsupported(format!("option --without: {error}")))?);
                }
                _ => return Err(Failure::Unsupported(format!("unknown option {}", name.display()))),
            }
        }
        let need = |value: Option<PathBuf>, name: &str| {
            value.ok_or_else(|| Failure::Unsupported(format!("option {name} is missing")))
        };
        Ok(Self {
            paths: Paths { state: need(state, "--state")?, run: need(run, "--run-dir")? },
            cgroup_parent: need(cgroup_parent, "--cgroup-parent")?,
            without,
        })
    }
}

/// Serves for ever; returns at once when another keeper does already.
fn serve(options: &Options) -> Result<(), Failure> {
    let paths = &options.paths;
    for path in [paths.instances(), paths.run.join("containers"), paths.run.join("images")] {
        state::private_directory(&path).step(|| format!("make {}", path.display()))?;
    }
    let Some(_lock) = take_lock(&paths.lock())? else { return Ok(()) };
    // Already a leader when started by hand: then there is nothing to leave.
    let _ = nix::unistd::setsid();
    rustix::process::chdir("/").step(|| "go to /")?;
    // Whatever the agent was started with: a container's root directory must be open to its users.
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    sys::ignore_broken_pipes();
    let board = File::open("/proc/self/ns/mnt").step(|| "open /proc/self/ns/mnt")?;
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).step(|| "make the keeper's mount namespace")?;
    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE)
        .step(|| "make its mounts private")?;
    keeper::Keeper::new(
        Tools {
            paths: paths.clone(),
            cgroups: Cgroups::detect(&options.cgroup_parent)?.on_disk(Disk::below(&paths.state)),
            stage: Stage::make(paths.run.join("stage"))?,
            facilities: Facilities::detect(&options.without),
            images: ImageMounts::new(paths.run.join("images")),
            programs: Programs::new(),
            init: init::load()?,
            netlink: Netlink::open()?,
            holder: Holder::new(&paths.run, board.into()),
            transit: Transit::open(&paths.run).step(|| "open the file of output on its way")?,
        },
        listen(&paths.socket())?,
    )
    .run()
}

/// The lock of the one keeper; none when another holds it.
fn take_lock(path: &Path) -> Result<Option<Flock<File>>, Failure> {
    let file = File::create(path).step(|| format!("open {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(Failure::step(format!("lock {}", path.display()), &error.into())),
    }
}

fn listen(path: &Path) -> Result<OwnedFd, Failure> {
    let name = || format!("listen on {}", path.display());
    let _ = fs::remove_file(path);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).step(name)?;
    let address = SocketAddrUnix::new(path).step(name)?;
    // Its directory is private; the mode is a second fence.
    rustix::net::bind(&socket, &address).step(name)?;
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).step(name)?;
    rustix::net::listen(&socket, 16).step(name)?;
    Ok(socket)
}
