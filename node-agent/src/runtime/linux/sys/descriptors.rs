//! Every descriptor of this process at once: what a process that goes inside must not take along.

use std::io;
use std::os::fd::RawFd;

use super::check;

/// Kernels before 5.9 or 5.11 have every descriptor up to here looked at: a keeper of a full node has 2,000.
const MOST_DESCRIPTORS: RawFd = 65_536;

/// Marks every descriptor from `first` on close-on-exec.
///
/// # Errors
/// What the kernel says.
pub fn close_on_exec_from(first: RawFd) -> io::Result<()> {
    // SAFETY: changes flags of descriptors only; nothing is closed now.
    let marked = check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) });
    match marked {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => close_each_on_exec(first),
        marked => marked,
    }
}

fn close_each_on_exec(first: RawFd) -> io::Result<()> {
    for fd in first..MOST_DESCRIPTORS {
        // SAFETY: changes the flags of one descriptor, if it is open.
        match check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Closes every descriptor from `first` on. For a process that will use none of them again: their owners in this
/// process's memory must be forgotten (the caller never returns to them).
pub fn close_all_from(first: RawFd) {
    // SAFETY: called by forked processes only, which from here on touch no descriptor but 0 to 2 and new ones.
    if unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } != 0 {
        for fd in first..MOST_DESCRIPTORS {
            // SAFETY: as above.
            unsafe { libc::close(fd) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use rustix::io::FdFlags;

    use super::close_each_on_exec;

    #[test]
    fn a_descriptor_is_marked_one_by_one_where_the_kernel_marks_no_range() {
        let file = File::open("/dev/null").expect("a file");
        rustix::io::fcntl_setfd(&file, FdFlags::empty()).expect("open over exec");
        close_each_on_exec(file.as_raw_fd()).expect("marked");
        assert_eq!(rustix::io::fcntl_getfd(&file), Ok(FdFlags::CLOEXEC));
    }
}
