//! The process that works on a container's files, inside it.
//!
//! It is the keeper's own image, never executed anew, and has what a command of the container would have: its root, ids,
//! capabilities, system call filter and groups. It is non-dumpable, so that the container can look neither into its
//! memory nor at its descriptors. What it says is told at [`FileRequest`].

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

use roost_types::FileRequest;
use rustix::fs::{Mode, OFlags};

use super::plan::Profile;
use super::seccomp::Program;
use super::wire::{Context, Failure};
use super::{child, sys};
use crate::files::{self, FileError};

/// Status of a process that did what was asked.
const DONE: i32 = 0;
/// Status of one that could not, and has said why.
const FAILED: i32 = 1;
/// Status of one that broke.
const BROKEN: i32 = 70;

/// Does what is asked and ends. Returns only when it could not be begun.
pub fn run(profile: Profile, program: &Program, request: &FileRequest) -> Failure {
    if let Err(failure) = begin(profile, program) {
        return failure;
    }
    // A panic must not unwind into the keeper's own frames, of which this process has a copy.
    let done = catch_unwind(AssertUnwindSafe(|| serve(request)));
    sys::exit_now(match done {
        Ok(Ok(())) => DONE,
        Ok(Err(error)) => {
            let failure = serde_json::to_vec(&error.failure()).unwrap_or_default();
            let _ = io::stderr().write_all(&failure);
            FAILED
        }
        Err(_) => BROKEN,
    })
}

fn begin(profile: Profile, program: &Program) -> Result<(), Failure> {
    child::restrict(profile, program)?;
    // Again, since a change of user ids can make a process dumpable.
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .step(|| "become non-dumpable")?;
    // The channel is one of them: the keeper sees that it has begun.
    sys::close_all_from(3);
    Ok(())
}

fn serve(request: &FileRequest) -> Result<(), FileError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let failed = |source: io::Error| FileError::Step { step: "open the root", path: "/".to_owned(), source };
    let root = rustix::fs::open("/", flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    let input = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let output = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
    files::serve(root.as_fd(), request, input, BufWriter::with_capacity(64 << 10, output))
}
