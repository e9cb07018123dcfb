//! Terminals of a container: one for an exec, one that is its console.
//!
//! The container's own devpts makes them, so that their names are right inside. The multiplexer's end goes to the keeper;
//! the other end comes from it, never from a path.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use roost_types::stream::Resize;
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::termios::Winsize;

use super::child::Report;
use super::sys;
use super::wire::{self, Context, Failure};

/// The size of a console that nobody is attached to: what a serial line has.
const CONSOLE_SIZE: Resize = Resize { cols: 80, rows: 24 };

/// Both ends of a terminal.
pub struct Terminal {
    /// The multiplexer's.
    pub master: OwnedFd,
    /// The container's.
    pub own: OwnedFd,
}

/// Opens a terminal below `root`. The container's root could have put anything in the multiplexer's place: what was
/// opened must be that device on a devpts.
///
/// # Errors
/// What the kernel says, or that it is no multiplexer.
pub fn open(root: BorrowedFd<'_>, size: Resize) -> io::Result<Terminal> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let master = openat2(root, "dev/pts/ptmx", flags, Mode::empty(), resolve)?;
    if fstat(&master)?.st_rdev != sys::PTMX_DEVICE || !sys::is_devpts(master.as_fd()) {
        return Err(io::Error::other("/dev/pts/ptmx of the container is not a terminal multiplexer"));
    }
    let own = sys::terminal_peer(master.as_fd())?;
    resize(&master, size)?;
    Ok(Terminal { master, own })
}

/// Tells a terminal, and so whoever runs on it, its size.
///
/// # Errors
/// What the kernel says.
pub fn resize(terminal: &OwnedFd, size: Resize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(rustix::termios::tcsetwinsize(terminal, size)?)
}

/// Gives a container that has its own init a console: a terminal whose other end the keeper gets, mounted on
/// `/dev/console`. Nothing of the container runs yet, and its `/dev` is a fresh file system of ours.
///
/// # Errors
/// The step that failed.
pub fn make_console(root: BorrowedFd<'_>, keeper: &OwnedFd) -> Result<OwnedFd, Failure> {
    let terminal = open(root, CONSOLE_SIZE).step(|| "open the console's terminal")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let device = open_tree(&terminal.own, "", flags).step(|| "copy the mount of the console's terminal")?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
    let target = openat2(root, "dev/console", flags, Mode::from_raw_mode(0o600), resolve)
        .step(|| "make /dev/console of the container")?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(&device, "", &target, "", flags).step(|| "mount onto /dev/console of the container")?;
    wire::send(keeper, &Report::Terminal, &[terminal.master.as_fd()]).step(|| "hand over the console")?;
    Ok(terminal.own)
}
