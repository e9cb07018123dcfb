//! The order of a start and of an end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roost_types::{ActingMode, Image, Node, NodeStatus};
use tokio::signal::unix::{SignalKind, signal};

use super::boards::Boards;
use super::cgroup::Hierarchies;
use super::control::RackInABox;
use super::firmware::Firmware;
use super::heat::Heat;
use super::hub::Hub;
use super::layout::{Layout, run_root};
use super::process::{Part, own_program};
use super::{clean, control, files, firmware, nat, network, ports, power, resolver, tools};
use crate::args::DevStart;
use crate::client::Client;
use crate::commands::upload;
use crate::context::{Context, default_dev_state};
use crate::error::CliError;
use crate::progress::Step;
use crate::recipes;

/// A file that marks a directory as the state of a rack.
pub const MARK: &str = "roost-dev";
/// How long the controller may take to answer.
const CONTROLLER_PATIENCE: Duration = Duration::from_secs(30);
/// How long the boards may take to join before the start goes on without them.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

/// Starts a rack, runs it until SIGINT or SIGTERM, and takes it away.
///
/// # Errors
/// What went wrong, with the step.
pub async fn run(start: DevStart) -> Result<(), CliError> {
    let (mut interrupt, mut terminate) = (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    let began = Instant::now();
    check_machine()?;
    tools::prepare(start.no_install).await?;
    let state = prepare_state(&start)?;
    let _lock = lock(&state)?;
    let layout = find_layout(&state, start.rack)?;
    check_port(start.listen)?;
    let cgroups = Hierarchies::find()?;
    let resolvers = resolver::file(start.resolv_conf.as_deref())?;
    let mut rack = Rack::new(layout, cgroups, resolvers)?;
    let outcome = tokio::select! {
        started = rack.start(&start, began) => match started {
            Ok(()) => tokio::select! { _ = interrupt.recv() => Ok(()), _ = terminate.recv() => Ok(()) },
            Err(error) => Err(error),
        },
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    let step = Step::begin("stopping the rack", false);
    let stopped = rack.stop().await;
    match &stopped {
        Ok(()) => step.done(format!("stopped; state is kept in {}", state.display())),
        Err(_) => step.clear(),
    }
    outcome.and(stopped)
}

fn on(kind: SignalKind) -> Result<tokio::signal::unix::Signal, CliError> {
    signal(kind).map_err(|e| CliError::step("listening for signals", e))
}

/// What no package can mend.
fn check_machine() -> Result<(), CliError> {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let has = |name: &str| filesystems.lines().any(|line| line.split_whitespace().last() == Some(name)) || module(name);
    let lacking: Vec<&str> = ["overlay", "erofs"].into_iter().filter(|name| !has(name)).collect();
    if !lacking.is_empty() {
        return Err(CliError::Failed(format!("this kernel has no {}: containers need it", lacking.join(" and no "))));
    }
    match fs::exists("/proc/self/ns/user") {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(CliError::Failed("this kernel has no user namespaces: containers need them".into())),
    }
}

/// Nothing else may listen where the controller will.
fn check_port(listen: SocketAddr) -> Result<(), CliError> {
    match std::net::TcpListener::bind(listen) {
        Ok(_) => Ok(()),
        Err(e) => {
            Err(CliError::step(format!("cannot listen on {listen}"), format!("{e}; choose another with --listen")))
        }
    }
}

/// Loads a kernel module of this name.
fn module(name: &str) -> bool {
    std::process::Command::new("modprobe").args(["-q", name]).status().is_ok_and(|status| status.success())
}

/// The state directory, absolute.
///
/// # Errors
/// When it cannot be resolved.
pub fn state_directory(named: Option<&Path>) -> Result<PathBuf, CliError> {
    let path = named.map_or_else(default_dev_state, Path::to_owned);
    std::path::absolute(&path).map_err(|e| CliError::step(format!("resolving {}", path.display()), e))
}

fn prepare_state(start: &DevStart) -> Result<PathBuf, CliError> {
    let state = state_directory(start.state.as_deref())?;
    let failed = |e: std::io::Error| CliError::step(format!("preparing {}", state.display()), e);
    let is_ours = state.join(MARK).exists();
    if !is_ours && fs::read_dir(&state).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(CliError::Usage(format!("{} is not empty and not the state of a rack", state.display())));
    }
    fs::create_dir_all(state.join("log")).map_err(failed)?;
    fs::create_dir_all(state.join("boards")).map_err(failed)?;
    fs::write(state.join(MARK), "").map_err(failed)?;
    for entry in fs::read_dir(state.join("log")).map_err(failed)?.flatten() {
        File::create(entry.path()).map_err(failed)?;
    }
    Ok(state)
}

/// Locks a state directory for as long as the file lives.
///
/// # Errors
/// When another rack holds it.
pub fn lock(state: &Path) -> Result<File, CliError> {
    let file = File::options().write(true).open(state.join(MARK));
    let file = file.map_err(|e| CliError::step(format!("locking {}", state.display()), e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            Err(CliError::Failed(format!("a rack with the state {} is running: stop it first", state.display())))
        }
        Err(fs::TryLockError::Error(e)) => Err(CliError::step(format!("locking {}", state.display()), e)),
    }
}

/// Finds the rack's number: that of an earlier run with this state, else the first that no other rack uses.
///
/// # Errors
/// When all are taken.
pub fn find_layout(state: &Path, boards: u16) -> Result<Layout, CliError> {
    let first = Layout::preferred_id(state);
    let ids = (0..254_u16).map(|n| u8::try_from((u16::from(first) - 1 + n) % 254 + 1).unwrap_or(first));
    for id in ids {
        let layout = Layout { id, state: state.to_owned(), boards };
        match fs::read_to_string(owner_file(id)) {
            Ok(owner) if Path::new(&owner) == state => return Ok(layout),
            Ok(owner) if Path::new(&owner).join(MARK).exists() => {}
            Ok(_) | Err(_) => return Ok(layout),
        }
    }
    Err(CliError::Failed(format!("254 racks on one machine are enough: see {}", run_root().display())))
}

fn owner_file(id: u8) -> PathBuf {
    run_root().join(id.to_string()).join("state")
}

/// The port that boards dial.
pub fn controller_port(layout: &Layout) -> u16 {
    let port = fs::read_to_string(layout.run().join("port")).ok().and_then(|text| text.parse().ok());
    port.unwrap_or(roost_types::DEFAULT_PORT)
}

/// Everything of a running rack.
struct Rack {
    layout: Layout,
    boards: Arc<Boards>,
    controller: Option<Part>,
    hub: Option<Arc<Hub>>,
}

impl Rack {
    fn new(layout: Layout, cgroups: Hierarchies, resolvers: Option<PathBuf>) -> Result<Self, CliError> {
        let failed = |e: std::io::Error| CliError::step(format!("making {}", layout.run().display()), e);
        fs::create_dir_all(layout.run().join("boards")).map_err(failed)?;
        fs::write(owner_file(layout.id), layout.state.as_os_str().as_encoded_bytes()).map_err(failed)?;
        let boards = Arc::new(Boards::new(&layout, cgroups, resolvers));
        Ok(Self { layout, boards, controller: None, hub: None })
    }

    async fn start(&mut self, start: &DevStart, began: Instant) -> Result<(), CliError> {
        let layout = self.layout.clone();
        fs::write(layout.run().join("port"), start.listen.port().to_string())
            .map_err(|e| CliError::step("writing the controller's port", e))?;
        network::bridge_up(&layout).await?;
        way_out(&layout, start).await;
        let url = format!("http://{}", reachable(start.listen));
        let mode = if start.recommend { ActingMode::Recommend } else { ActingMode::Act };
        let context = files::write_all(&layout, &url, mode)?;
        self.remove_strays().await?;
        self.controller = Some(start_controller(&layout, start)?);
        let client = Client::new(context.clone())?;

        let (answered, built, on) =
            tokio::join!(wait_for_controller(&client), prepare_firmware(&layout), self.power_on_all());
        answered?;
        eprintln!("the controller answers on {url} after {:.1} s", began.elapsed().as_secs_f64());
        on?;
        let hub = Hub::new(&layout, built?);
        self.hub = Some(Arc::clone(&hub));
        let heat = Heat::new(&layout, Arc::clone(&self.boards), Arc::clone(&hub));
        hub.plug().await?;
        tokio::spawn(Arc::clone(&heat).run());
        tokio::spawn(power::follow(layout.clone(), Arc::clone(&self.boards), Arc::clone(&hub)));
        control::listen(Arc::new(RackInABox { layout: layout.clone(), boards: Arc::clone(&self.boards), hub, heat }))?;
        tokio::spawn(ports::follow(client.clone()));

        store_first_image(&client).await?;
        wait_for_boards(&client, layout.boards).await?;
        say_ready(&layout, &context, began);
        Ok(())
    }

    /// Boards of an earlier, larger rack with this state are taken away.
    async fn remove_strays(&self) -> Result<(), CliError> {
        let larger = Layout { boards: 200, ..self.layout.clone() };
        let cgroups = self.boards.cgroups();
        for plan in larger.plans().iter().skip(usize::from(self.layout.boards)) {
            if network::netns_file(&plan.netns).exists() || !cgroups.processes(&plan.cgroup).is_empty() {
                cgroups.kill(&plan.cgroup).await?;
                network::board_down(plan).await?;
                cgroups.remove(&plan.cgroup);
            }
        }
        Ok(())
    }

    async fn power_on_all(&self) -> Result<(), CliError> {
        let plans = self.layout.plans();
        let all = futures_util::future::join_all(plans.iter().map(|plan| self.boards.power_on(plan))).await;
        all.into_iter().collect()
    }

    /// Ends everything and leaves no trace but the state.
    async fn stop(&mut self) -> Result<(), CliError> {
        if let Some(hub) = self.hub.take() {
            hub.unplug().await;
        }
        let off = self.boards.all_off().await;
        if let Some(controller) = self.controller.take() {
            controller.end().await;
        }
        let gone = clean::traces(&self.layout, self.boards.cgroups()).await;
        off.and(gone)
    }
}

/// Lets instances reach what is beyond this machine, unless they shall not; says why they cannot: a rack is of use without.
async fn way_out(layout: &Layout, start: &DevStart) {
    let done = if start.no_nat { nat::close(layout).await } else { nat::open(layout, start.listen.port()).await };
    let bridge = layout.bridge();
    match (done, start.no_nat) {
        (Err(error), true) => eprintln!("instances may reach what is beyond this machine: {error}"),
        (Err(error), false) => eprintln!("instances reach nothing beyond this machine: {error}"),
        (Ok(()), true) => {}
        (Ok(()), false) => {
            if let Some(chain) = nat::obstacle().await {
                eprintln!("instances may reach nothing beyond this machine until {chain} lets {bridge} pass");
            }
        }
    }
}

/// The address a client on this machine uses.
fn reachable(listen: SocketAddr) -> SocketAddr {
    if listen.ip().is_unspecified() { SocketAddr::new([127, 0, 0, 1].into(), listen.port()) } else { listen }
}

fn start_controller(layout: &Layout, start: &DevStart) -> Result<Part, CliError> {
    let files = files::controller_files(layout);
    let port = start.listen.port();
    let listen = if start.listen.ip().is_unspecified() {
        start.listen.to_string()
    } else {
        format!("{},{}:{port}", start.listen, layout.bridge_address())
    };
    let mut words: Vec<OsString> = vec!["--".into(), own_program().into(), "controller".into(), "run".into()];
    let pairs: [(&str, OsString); 8] = [
        ("--state", layout.state.join("controller").into()),
        ("--listen", listen.into()),
        ("--rack", files.rack.into()),
        ("--nodes", files.nodes.into()),
        ("--tokens", files.tokens.into()),
        ("--alerts", files.alerts.into()),
        ("--dev-socket", layout.socket().into()),
        ("--time-scale", start.time_scale.to_string().into()),
    ];
    words.extend(pairs.into_iter().flat_map(|(flag, value)| [flag.into(), value]));
    Part::start("the controller".into(), layout.log("controller"), Box::new(move || words.clone()))
}

async fn wait_for_controller(client: &Client) -> Result<(), CliError> {
    let deadline = Instant::now() + CONTROLLER_PATIENCE;
    loop {
        match client.send(client.request(reqwest::Method::GET, "/healthz")).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn prepare_firmware(layout: &Layout) -> Result<Firmware, CliError> {
    let found = firmware::locate(&layout.state);
    if firmware::is_built(&found) {
        return Ok(found);
    }
    let step = Step::begin("building the firmware and its simulator", false);
    let built = firmware::build(&layout.state).await;
    match &built {
        Ok(_) => step.done("built the firmware and its simulator"),
        Err(_) => step.clear(),
    }
    built
}

/// Builds and stores `busybox`, unless it is there.
async fn store_first_image(client: &Client) -> Result<(), CliError> {
    let images: Vec<Image> = client.list("/v1/images").await?;
    if images.iter().any(|image| image.aliases.iter().any(|alias| alias == "busybox")) {
        return Ok(());
    }
    let step = Step::begin("building the image busybox", false);
    let stored = async {
        let built = recipes::build("busybox").await?;
        upload(client, built.manifest(), &built.rootfs()).await
    };
    match stored.await {
        Ok(image) => {
            step.done(format!("stored the image busybox, {}", image.digest));
            Ok(())
        }
        Err(error) => {
            step.clear();
            Err(error)
        }
    }
}

async fn wait_for_boards(client: &Client, boards: u16) -> Result<(), CliError> {
    let mut step = Step::begin("waiting for the boards", false);
    let deadline = Instant::now() + JOIN_PATIENCE;
    loop {
        let nodes: Vec<Node> = client.list("/v1/nodes").await?;
        let ready = nodes.iter().filter(|node| node.status == NodeStatus::Ready).count();
        if ready >= usize::from(boards) {
            step.done(format!("{ready} boards are ready"));
            return Ok(());
        }
        if Instant::now() > deadline {
            step.done(format!("{ready} of {boards} boards are ready; the logs say why the others are not"));
            return Ok(());
        }
        step.say(format!("waiting for the boards ({ready}/{boards})"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn say_ready(layout: &Layout, context: &Context, began: Instant) {
    eprintln!("\nthe rack is up after {:.1} s; Ctrl-C takes it away", began.elapsed().as_secs_f64());
    eprintln!("  dashboard  {}/#token={}", context.url, context.token);
    eprintln!("  context    {}", layout.context().display());
    eprintln!("  logs       {}", layout.state.join("log").display());
    let default = layout.context() == default_dev_state().join("context.yaml");
    let prefix = if default { String::new() } else { format!("ROOST_CONTEXT={} ", layout.context().display()) };
    eprintln!("  try        {prefix}roost launch busybox web --size nano --publish 18080:80 -- httpd -f -p 80 -h /etc");
    eprintln!("             {prefix}roost rack --watch");
    eprintln!("             {prefix}roost dev heat {} 41", layout.zone(0));
}
