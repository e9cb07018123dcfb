//! The first process of an `app` container: reaps whatever is orphaned, passes signals on to the command, and ends with
//! the command's status.
//!
//! It is the keeper's own image, never executed anew: non-dumpable and owned by the board's user namespace, so that the
//! container cannot open `/proc/1/exe` or its memory.

use rustix::thread::{CapabilitySet, CapabilitySets};

use super::seccomp::Program;
use super::sys;

/// Serves until the command `command` has ended. All signals must be blocked. Never returns.
pub fn run(command: i32, program: &Program) -> ! {
    // The command is forked already: what it needs of the keeper it has.
    sys::close_all_from(0);
    // What `ps` shows of it, instead of the keeper's name.
    let _ = rustix::thread::set_name(c"roost-init");
    give_up_privileges(program);
    sys::return_free_memory();
    loop {
        match sys::wait_signal() {
            libc::SIGCHLD => {
                if let Some(status) = reap_until(command) {
                    sys::exit_now(sys::exit_code(status));
                }
            }
            signal => {
                let _ = sys::kill(command, signal);
            }
        }
    }
}

/// Passing signals on needs `KILL`, for commands that change their user; nothing else is needed. What cannot be given
/// up here is bounded by the user namespace all the same.
fn give_up_privileges(program: &Program) {
    let kill = CapabilitySet::KILL;
    let sets = CapabilitySets { effective: kill, permitted: kill, inheritable: CapabilitySet::empty() };
    let _ = rustix::thread::set_capabilities(None, sets);
    let _ = rustix::thread::set_no_new_privs(true);
    let _ = sys::seccomp_install(program);
}

/// Reaps everything that has ended; the command's wait status when it is among them.
fn reap_until(command: i32) -> Option<i32> {
    let mut found = None;
    while let Some((pid, status)) = sys::reap(-1) {
        if pid == command {
            found = Some(status);
        }
    }
    found
}
