//! One container in the keeper's hands: started, adopted, watched, ended.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;
use std::time::Duration;

use roost_types::{AllocationId, ExitStatus, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::process::{Pid, PidfdFlags};

use super::cgroup::Cgroups;
use super::child::{self, Go, Inheritance, Programs, Report};
use super::console::{self, Console, for_log};
use super::facilities::{Facilities, Facility};
use super::holder::Holder;
use super::image_mounts::ImageMounts;
use super::logs::{Bucket, Writer};
use super::netlink::Netlink;
use super::overlay::{Root, Stage};
use super::plan::{self, Plan, Profile, Surroundings};
use super::state::{self, Paths, Saved};
use super::sys::{self, Cloned};
use super::transit::Transit;
use super::wire::{self, Context, Failure, StartCall};
use super::{dev, exec, first_boot, overlay, quota, userns};
use crate::files::way;
use crate::owners::{AS_SEEN, IDS};
use crate::runtime::ContainerState;

/// How long a new process may take until it is executed. It waits for nothing but the kernel.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The keeper's tools.
pub struct Tools {
    /// Where things are.
    pub paths: Paths,
    /// The hierarchies.
    pub cgroups: Cgroups,
    /// Where roots are put together.
    pub stage: Stage,
    /// What the kernel has.
    pub facilities: Facilities,
    /// Mounted images.
    pub images: ImageMounts,
    /// Filters.
    pub programs: Programs,
    /// The init program of `app` containers.
    pub init: OwnedFd,
    /// The node's network namespace.
    pub netlink: Netlink,
    /// Holds consoles while there is no keeper.
    pub holder: Holder,
    /// Output on its way to a log.
    pub transit: Transit,
}

/// A container that is running.
pub struct Running {
    /// Handle on its first process.
    pub pidfd: OwnedFd,
    /// Whether this keeper is its parent, so that it can reap it.
    is_child: bool,
    /// Where its output comes out: standard output and error.
    pub output: [OwnedFd; 2],
    /// Its console, where it has its own init.
    pub console: Option<Console>,
    /// Kill it at this time (Unix milliseconds).
    pub kill_at: Option<i64>,
}

/// A container, running or not.
pub struct Container {
    /// What is written down of it.
    pub saved: Saved,
    /// Handles, while it runs.
    pub running: Option<Running>,
    log: Writer,
    bucket: Bucket,
}

impl Container {
    /// Starts a container whose writable layer may be there already.
    ///
    /// # Errors
    /// The step that failed; everything done before is undone, the writable layer kept.
    pub fn start(call: &StartCall, before: Option<&Saved>, tools: &mut Tools) -> Result<Self, Failure> {
        let resolver = fs::read_to_string(crate::resolv_conf::PATH).unwrap_or_default();
        let directory = tools.paths.instance(call.spec.id);
        let first_boot = first_boot::load(&call.spec, &directory, before.is_some())?;
        let surroundings = Surroundings { name_servers: &plan::name_servers(&resolver), lan: call.lan.as_deref() };
        let plan = plan::plan(&call.spec, &call.network, &surroundings, first_boot.as_ref());
        let started = Self::try_start(call, &plan, before.map_or(0, |saved| saved.starts), tools);
        if started.is_err() {
            clean_up(call.spec.id, tools);
            // What was written for the process that is no more.
            let restored = before.map_or_else(|| Saved::remove(&directory), |saved| saved.write(&directory));
            if let Err(error) = restored {
                child::note(&format!("restore the state of {}: {error}", call.spec.id));
            }
        }
        started
    }

    fn try_start(call: &StartCall, plan: &Plan, starts: u32, tools: &mut Tools) -> Result<Self, Failure> {
        let id = call.spec.id;
        let directory = tools.paths.instance(id);
        prepare_directories(&directory, if call.shell.is_some() { plan.uid_base } else { AS_SEEN })?;
        quota::limit(&directory, plan.quota_id, call.spec.resources.disk_bytes.0)?;
        let log = Writer::new(tools.paths.log(id));
        make_output(&tools.paths.scratch(id))?;
        let output = open_output(&tools.paths.scratch(id), libc::O_NONBLOCK)?;
        // Of their own, since the container must not find its output non-blocking.
        let inside = open_output(&tools.paths.scratch(id), 0)?;
        let image = tools.images.open(&call.spec.image, call.spec.format, &call.image, Some(id))?;
        let owner = (plan.profile == Profile::System).then_some(plan.uid_base);
        let entry = tools.cgroups.create(&id.to_string(), &call.spec.resources, owner)?;

        let (ours, theirs) = exec::channel()?;
        let born_in = entry.born_in.as_ref().map(AsFd::as_fd);
        let (pid, pidfd) = match sys::clone3(NAMESPACES, born_in).step(|| "make the container's first process")? {
            Cloned::Child => {
                drop(ours);
                child::run(Inheritance {
                    plan,
                    program: tools.programs.of(plan.profile),
                    init: (&tools.init, tools.programs.of_init()),
                    channel: theirs,
                    entry,
                    output: inside,
                    stage: &tools.stage,
                    facilities: &tools.facilities,
                })
            }
            Cloned::Parent { pid, pidfd } => (pid, pidfd),
        };
        drop((theirs, entry, inside));
        let process = Process { pid, pidfd: Some(pidfd) };
        let now = Timestamp(sys::unix_ms());
        let saved = Saved {
            id,
            phase: ContainerState::Running { epoch: call.spec.epoch, pid: pid.cast_unsigned(), started_at: now },
            start_ticks: state::start_ticks(pid.cast_unsigned()).unwrap_or(0),
            system: call.spec.system,
            stop_signal: plan.stop_signal.unwrap_or_else(|| stop_signal(plan, &image)),
            uid_base: plan.uid_base,
            starts: starts.saturating_add(1),
            quota_id: plan.quota_id,
            environment: plan.environment.clone(),
            user: plan.user.clone(),
            workdir: plan.workdir.clone(),
        };
        // Before it runs: should the keeper die now, its successor knows the process.
        saved.write(&directory).step(|| format!("write the state of {id}"))?;
        let equipped = equip(pid, image, plan, call, &ours, tools);
        equipped.map_err(|failure| reported(&ours).unwrap_or(failure))?;
        let console = wait_for_exec(&ours)?.map(Console::new);
        if let Some(console) = &console
            && let Err(failure) = tools.holder.hold(id, console.master())
        {
            child::note(&format!("have the console of {id} held: {failure:?}"));
        }
        let running = Running { pidfd: process.keep(), is_child: true, output, console, kill_at: None };
        Ok(Self { saved, running: Some(running), log, bucket: Bucket::new(sys::unix_ms()) })
    }

    /// Takes over what an earlier keeper started (or finds that it no longer runs).
    ///
    /// # Errors
    /// When its output cannot be opened.
    pub fn adopt(saved: Saved, tools: &mut Tools) -> Result<Self, Failure> {
        let id = saved.id;
        let paths = &tools.paths.clone();
        let log = Writer::new(paths.log(id));
        let mut adopted = Self { saved, running: None, log, bucket: Bucket::empty(sys::unix_ms()) };
        let ContainerState::Running { pid, .. } = adopted.saved.phase else { return Ok(adopted) };
        let handle = i32::try_from(pid)
            .ok()
            .and_then(Pid::from_raw)
            .and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        // The handle first, then the check: a pid that was given to another process since does not pass.
        match handle {
            Some(pidfd) if state::start_ticks(pid) == Some(adopted.saved.start_ticks) => {
                make_output(&paths.scratch(id))?;
                let output = open_output(&paths.scratch(id), libc::O_NONBLOCK)?;
                let console = adopted.saved.system.then(|| tools.holder.take(id)).flatten().map(Console::new);
                adopted.running = Some(Running { pidfd, is_child: false, output, console, kill_at: None });
            }
            _ => {
                adopted.keep_last_words(tools);
                let exit = ExitStatus { code: -1, oom_killed: false, at: Timestamp(sys::unix_ms()) };
                adopted.saved.phase = ContainerState::Exited { exit: Some(exit) };
                adopted.save(paths);
            }
        }
        Ok(adopted)
    }

    /// Whose it is.
    #[must_use]
    pub const fn id(&self) -> AllocationId {
        self.saved.id
    }

    /// Asks the first process to end and sets the time of its killing. A later call can only bring that forward.
    pub fn ask_to_stop(&mut self, grace: Duration) {
        let Some(running) = &mut self.running else { return };
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let at = sys::unix_ms().saturating_add(grace);
        running.kill_at = Some(running.kill_at.map_or(at, |earlier| earlier.min(at)));
        if grace == 0 {
            let _ = sys::pidfd_send_signal(running.pidfd.as_fd(), libc::SIGKILL);
        } else {
            let _ = sys::pidfd_send_signal(running.pidfd.as_fd(), self.saved.stop_signal);
        }
    }

    /// Kills the first process (and with it its whole pid namespace) when its time has come.
    pub fn kill_if_due(&mut self, now_ms: i64) {
        if let Some(running) = &mut self.running
            && running.kill_at.is_some_and(|at| at <= now_ms)
        {
            running.kill_at = None;
            let _ = sys::pidfd_send_signal(running.pidfd.as_fd(), libc::SIGKILL);
        }
    }

    /// The first process's handle became readable: learns how it ended. A process that an earlier keeper started has
    /// another parent now: its status is what the kernel keeps with the handle once it was reaped, or with the zombie
    /// before.
    pub fn note_exit(&mut self, tools: &mut Tools, buffer: &mut [u8]) -> Option<ExitStatus> {
        let running = self.running.as_ref()?;
        let ContainerState::Running { pid, .. } = self.saved.phase else { return None };
        let status = if running.is_child {
            sys::reap(pid.cast_signed()).map(|(_, status)| status)?
        } else {
            let kept = sys::pidfd_exit_status(running.pidfd.as_fd());
            kept.or_else(|| state::zombie_status(pid)).unwrap_or(UNKNOWN)
        };
        while self.copy_output(u64::MAX, &mut tools.transit, buffer) > 0 {}
        let text = self.saved.id.to_string();
        let exit = ExitStatus {
            code: if status == UNKNOWN { -1 } else { sys::exit_code(status) },
            oom_killed: tools.cgroups.oom_kills(&text) > 0,
            at: Timestamp(sys::unix_ms()),
        };
        self.running = None;
        self.saved.phase = ContainerState::Exited { exit: Some(exit) };
        self.save(&tools.paths);
        Some(exit)
    }

    /// Attaches somebody to its console.
    ///
    /// # Errors
    /// When it does not run or has none, or too many are attached.
    pub fn attach(&mut self, paths: &Paths, lines: u32) -> Result<OwnedFd, Failure> {
        let log = paths.log(self.id());
        self.console()?.attach(&log, lines)
    }

    /// Its console.
    ///
    /// # Errors
    /// When it does not run or has none.
    pub fn console(&mut self) -> Result<&mut Console, Failure> {
        let system = self.saved.system;
        let running = self.running.as_mut().ok_or(Failure::NotRunning)?;
        running.console.as_mut().ok_or_else(|| console::none(system))
    }

    /// Copies output to the log as far as the container's rate allows.
    pub fn drain(&mut self, now_ms: i64, transit: &mut Transit, buffer: &mut [u8]) {
        let allowed = self.bucket.available(now_ms);
        let copied = self.copy_output(allowed, transit, buffer);
        self.bucket.take(copied);
    }

    /// Whether its output is to be read now.
    pub fn may_log(&mut self, now_ms: i64) -> bool {
        self.bucket.available(now_ms) > 0
    }

    /// It ended while there was no keeper. Somebody may have held its FIFOs meanwhile, and then they have what it wrote.
    fn keep_last_words(&mut self, tools: &mut Tools) {
        let Ok(output) = open_output(&tools.paths.scratch(self.saved.id), libc::O_NONBLOCK) else { return };
        let mut buffer = vec![0; wire::MAX_MESSAGE];
        while self.copy_pipes(&output, &mut tools.transit, &mut buffer) > 0 {}
    }

    fn copy_output(&mut self, allowed: u64, transit: &mut Transit, buffer: &mut [u8]) -> u64 {
        let Some(mut running) = self.running.take() else { return 0 };
        let length = buffer.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let buffer = &mut buffer[..length];
        let mut copied = 0;
        if !buffer.is_empty() {
            if let Some(console) = &mut running.console {
                let got = console.read(buffer);
                copied += got as u64;
                if got > 0 {
                    let carried = transit.carry_read(&mut self.log, self.saved.id, &for_log(&buffer[..got]));
                    self.note_unwritten(carried);
                }
            }
            copied += self.copy_pipes(&running.output, transit, buffer);
        }
        self.running = Some(running);
        copied
    }

    fn copy_pipes(&mut self, output: &[OwnedFd; 2], transit: &mut Transit, buffer: &mut [u8]) -> u64 {
        let mut copied = 0;
        for (fd, stderr) in output.iter().zip([false, true]) {
            match transit.carry(&mut self.log, (self.saved.id, stderr), fd.as_fd(), buffer) {
                Ok(bytes) => copied += bytes as u64,
                Err(error) => self.note_unwritten(Err(error)),
            }
        }
        copied
    }

    fn note_unwritten(&self, written: io::Result<()>) {
        if let Err(error) = written {
            child::note(&format!("write the log of {}: {error}", self.saved.id));
        }
    }

    fn save(&self, paths: &Paths) {
        if let Err(error) = self.saved.write(&paths.instance(self.saved.id)) {
            child::note(&format!("write the state of {}: {error}", self.saved.id));
        }
    }
}

/// A wait status that no process can have.
const UNKNOWN: i32 = i32::MIN;

/// Everything but the cgroup namespace, which is made once the process is in its groups.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET;

/// A process that is killed and reaped unless it is kept.
struct Process {
    pid: i32,
    pidfd: Option<OwnedFd>,
}

impl Process {
    fn keep(mut self) -> OwnedFd {
        self.pidfd.take().expect("taken once, here")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let Some(pidfd) = self.pidfd.take() else { return };
        let _ = sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL);
        let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None);
        let _ = sys::reap(self.pid);
    }
}

/// Takes away what exists only while a container runs. Its network cable goes with its network namespace, which the
/// kernel takes down by itself.
pub fn clean_up(id: AllocationId, tools: &mut Tools) {
    tools.images.release(id, sys::unix_ms());
    tools.holder.release(id);
    // Groups that are still busy are tried again by the next start or by delete.
    let _ = tools.cgroups.remove(&id.to_string());
}

/// Makes what a container's root is put together from, by the facilities of the kernel.
fn make_root(call: &StartCall, profile: Profile, image: OwnedFd, pid: i32, tools: &mut Tools) -> Result<Root, Failure> {
    let directory = tools.paths.instance(call.spec.id);
    let Some(shell) = &call.shell else {
        let userns = userns::open(pid)?;
        return overlay::map_layers(image, &directory, userns.as_fd()).map(Root::Layers);
    };
    let point = tools
        .images
        .point(&call.spec.image)
        .ok_or_else(|| Failure::Unsupported(format!("{} is not mounted", call.image.display())))?;
    let layers = overlay::shelled_layers(point, shell, &directory)?;
    if tools.facilities.has(Facility::UserOverlay) {
        return Ok(Root::Layers(layers));
    }
    overlay::assemble_for(layers.lower, &directory, &tools.stage, profile).map(Root::Whole)
}

/// Makes the directories of a layer that has the form of the range that begins at `base`.
fn prepare_directories(instance: &Path, base: u32) -> Result<(), Failure> {
    state::private_directory(instance).step(|| format!("make {}", instance.display()))?;
    // The container's root finds its layer on the way through, and nothing else of it.
    let (group, mode) = if base == AS_SEEN { (0, 0o700) } else { (base, 0o710) };
    let found = fs::metadata(instance).step(|| format!("look at {}", instance.display()))?;
    if (found.gid(), found.mode() & 0o7777) != (group, mode) {
        chown(instance, Some(0), Some(group)).step(|| format!("set the group of {}", instance.display()))?;
        fs::set_permissions(instance, Permissions::from_mode(mode)).step(|| format!("close {}", instance.display()))?;
    }
    let owner = own_directory(&instance.join("work"), base)?;
    if owner != base {
        chown(instance.join("work"), Some(base), Some(base)).step(|| "set the owner of the work directory")?;
    }
    // What the container made of its own root's owner stays.
    let owner = own_directory(&instance.join("upper"), base)?;
    if owner - owner % IDS == base {
        return Ok(());
    }
    // The agent is about to change that; it thought the container still ran.
    let step = format!("find the layer below {} stored for the ids from {base}", instance.display());
    Err(Failure::step(step, &io::Error::from_raw_os_error(libc::EAGAIN)))
}

/// Makes a directory for a range, unless it is there; whose it is.
fn own_directory(path: &Path, base: u32) -> Result<u32, Failure> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made if base == AS_SEEN => made.step(|| format!("make {}", path.display()))?,
        made => made.and_then(|()| chown(path, Some(base), Some(base))).step(|| format!("make {}", path.display()))?,
    }
    Ok(fs::metadata(path).step(|| format!("look at {}", path.display()))?.uid())
}

/// The FIFOs that carry a container's output.
const OUTPUT: [&str; 2] = ["stdout", "stderr"];

fn make_output(scratch: &Path) -> Result<(), Failure> {
    state::private_directory(scratch).step(|| format!("make {}", scratch.display()))?;
    for path in OUTPUT.map(|name| scratch.join(name)) {
        sys::make_fifo(&path).step(|| format!("make the FIFO {}", path.display()))?;
    }
    Ok(())
}

/// Opens the FIFOs. Whoever holds one can read and write it, so that neither end's death breaks the other.
///
/// # Errors
/// The one that cannot be opened.
pub fn open_output(scratch: &Path, flags: i32) -> Result<[OwnedFd; 2], Failure> {
    let open = |name: &str| -> Result<OwnedFd, Failure> {
        let path = scratch.join(name);
        let flags = flags | libc::O_NOFOLLOW;
        let fifo = fs::OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path);
        fifo.map(Into::into).step(|| format!("open the FIFO {}", path.display()))
    };
    Ok([open(OUTPUT[0])?, open(OUTPUT[1])?])
}

/// How the first process is asked to end: an app's command by SIGTERM, an init by what its program is.
fn stop_signal(plan: &Plan, image: &OwnedFd) -> i32 {
    match plan.profile {
        Profile::App => libc::SIGTERM,
        Profile::System => {
            let command = plan.command.first().map_or("", String::as_str);
            plan::shutdown_signal(program_behind(command, image).as_deref().unwrap_or(command))
        }
    }
}

/// Does for a new process what only the board's root may, and sends it what it made.
fn equip(
    pid: i32,
    image: OwnedFd,
    plan: &Plan,
    call: &StartCall,
    channel: &OwnedFd,
    tools: &mut Tools,
) -> Result<(), Failure> {
    userns::map(pid, plan.uid_base)?;
    tools.netlink.plug_in(plan, pid)?;
    let root = make_root(call, plan.profile, image, pid, tools)?;
    let dev = dev::make(plan.uid_base)?;
    let parts = match &root {
        Root::Layers(layers) => vec![dev.as_fd(), layers.lower.as_fd(), layers.writable.as_fd()],
        Root::Whole(root) => vec![dev.as_fd(), root.as_fd()],
    };
    wire::send(channel, &Go {}, &parts).step(|| "send its root to the container")
}

/// What a new process has reported so far: when it has ended, nothing that is done for it succeeds.
fn reported(channel: &OwnedFd) -> Option<Failure> {
    let mut fds = [PollFd::new(channel, PollFlags::IN)];
    let ready = poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0);
    match ready.then(|| wire::receive::<Report>(channel, &mut [0; wire::MAX_REPORT])) {
        Some(Ok(Some((Report::Failed(failure), _)))) => Some(failure),
        _ => None,
    }
}

/// What a path of the image leads to, through every link of it and none of the board.
fn program_behind(path: &str, image: &OwnedFd) -> Option<String> {
    let program = way::open(image.as_fd(), path, OFlags::PATH).ok()?;
    let name = rustix::fs::readlink(format!("/proc/self/fd/{}", program.as_raw_fd()), Vec::new()).ok()?;
    name.into_string().ok()
}

/// Waits until the new process is executed; its console, where it has one.
fn wait_for_exec(channel: &OwnedFd) -> Result<Option<OwnedFd>, Failure> {
    let timeout = Timespec { tv_sec: START_TIMEOUT.as_secs().cast_signed(), tv_nsec: 0 };
    let mut console = None;
    loop {
        let ready =
            poll(&mut [PollFd::new(channel, PollFlags::IN)], Some(&timeout)).step(|| "wait for the container")?;
        if ready == 0 {
            return Err(Failure::step("wait for the container's first process", &io::ErrorKind::TimedOut.into()));
        }
        match wire::receive::<Report>(channel, &mut [0; wire::MAX_REPORT]) {
            Ok(Some((Report::Failed(failure), _))) => return Err(failure),
            Ok(Some((Report::Terminal, fds))) => console = fds.into_iter().next(),
            Ok(Some((Report::Forked { .. }, _))) => {}
            Ok(None) => return Ok(console),
            Err(error) => return Err(Failure::step("hear from the container's first process", &error)),
        }
    }
}
