//! The boards: power on (network, cgroup, agent), power off (every process in it), and adoption of what still runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use roost_types::{Name, PowerAction};
use tokio::sync::Mutex;

use super::cgroup::Hierarchies;
use super::layout::{BoardPlan, Layout};
use super::process::{Part, own_program};
use super::{files, network};
use crate::error::CliError;

/// Memory of a board: 1 GiB.
const MEMORY_BYTES: u64 = 1 << 30;
/// Processes and threads of a board at most.
const PIDS: u32 = 8192;
/// Cores of a board, when the machine has as many.
const CORES: usize = 4;

/// All boards of a rack.
#[derive(Debug)]
pub struct Boards {
    layout: Layout,
    cgroups: Hierarchies,
    /// Names whom agents ask for names beyond the rack.
    resolvers: Option<PathBuf>,
    agents: BTreeMap<Name, Mutex<Option<Part>>>,
}

impl Boards {
    /// The boards of a layout, all off.
    pub fn new(layout: &Layout, cgroups: Hierarchies, resolvers: Option<PathBuf>) -> Self {
        let agents = layout.plans().into_iter().map(|plan| (plan.name, Mutex::new(None))).collect();
        Self { layout: layout.clone(), cgroups, resolvers, agents }
    }

    /// The cgroup hierarchies.
    pub fn cgroups(&self) -> &Hierarchies {
        &self.cgroups
    }

    /// Thousandths of a core that a board says it has.
    pub fn cpu_millis() -> u32 {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(CORES);
        u32::try_from(cores * 1000).unwrap_or(1000)
    }

    /// Whether a board's power is on.
    pub async fn is_on(&self, name: &Name) -> bool {
        match self.agents.get(name) {
            Some(agent) => agent.lock().await.is_some(),
            None => false,
        }
    }

    /// Switches a board on; one that still has processes of an earlier run is adopted as it is.
    ///
    /// # Errors
    /// When the board cannot be made.
    pub async fn power_on(&self, board: &BoardPlan) -> Result<(), CliError> {
        let Some(agent) = self.agents.get(&board.name) else { return Err(no_board(&board.name)) };
        let mut agent = agent.lock().await;
        if agent.is_some() {
            return Ok(());
        }
        if !self.can_be_adopted(board) {
            self.clear(board).await?;
        }
        network::board_up(&self.layout, board).await?;
        self.cgroups.create(&board.cgroup, MEMORY_BYTES, PIDS)?;
        let failed = |e| CliError::step(format!("making the directories of {}", board.name), e);
        fs::create_dir_all(&board.run).map_err(failed)?;
        fs::create_dir_all(&board.state).map_err(failed)?;
        let boot_id = boot_id(board)?;
        let (layout, cgroups, plan) = (self.layout.clone(), self.cgroups.clone(), board.clone());
        let resolvers = self.resolvers.clone();
        let recipe = Box::new(move || {
            let names = resolvers.iter().flat_map(|file| ["--resolv-conf".into(), file.into()]);
            agent_command(&layout, &cgroups, &plan, &boot_id).into_iter().chain(names).collect()
        });
        *agent = Some(Part::start(board.name.to_string(), self.layout.log(board.name.as_str()), recipe)?);
        Ok(())
    }

    /// Cuts a board's power: every process in it is killed, its network is taken away, and its mounts go with them.
    ///
    /// # Errors
    /// When something does not go.
    pub async fn power_off(&self, board: &BoardPlan) -> Result<(), CliError> {
        let Some(agent) = self.agents.get(&board.name) else { return Err(no_board(&board.name)) };
        let part = agent.lock().await.take();
        // The keeper of the part must learn that this end is wanted before its process is killed.
        let (_, killed) = tokio::join!(
            async {
                if let Some(part) = part {
                    part.end().await;
                }
            },
            self.cgroups.kill(&board.cgroup)
        );
        killed?;
        self.clear(board).await
    }

    /// Ends what is left of a board and forgets everything that does not outlive a power cut.
    async fn clear(&self, board: &BoardPlan) -> Result<(), CliError> {
        self.cgroups.kill(&board.cgroup).await?;
        network::board_down(board).await?;
        self.cgroups.remove(&board.cgroup);
        match fs::remove_dir_all(&board.run) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(CliError::step(format!("removing {}", board.run.display()), e))
            }
            _ => Ok(()),
        }
    }

    /// Something of an earlier run is alive and its network and boot id are there.
    fn can_be_adopted(&self, board: &BoardPlan) -> bool {
        let alive = !self.cgroups.processes(&board.cgroup).is_empty();
        let network = network::netns_file(&board.netns).exists() && network::interface_exists(&board.veth);
        alive && network && board.run.join("boot-id").exists()
    }

    /// Switches a board by name.
    ///
    /// # Errors
    /// When there is no such board, or it cannot be done.
    pub async fn switch(&self, name: &Name, action: PowerAction) -> Result<(), CliError> {
        let plan = self.layout.plans().into_iter().find(|plan| plan.name == *name).ok_or_else(|| no_board(name))?;
        match action {
            PowerAction::On => self.power_on(&plan).await,
            PowerAction::Off => self.power_off(&plan).await,
            PowerAction::Cycle => {
                self.power_off(&plan).await?;
                self.power_on(&plan).await
            }
        }
    }

    /// Cuts the power of all; the first error is given back after all were tried.
    ///
    /// # Errors
    /// When something does not go.
    pub async fn all_off(&self) -> Result<(), CliError> {
        let plans = self.layout.plans();
        let ended = futures_util::future::join_all(plans.iter().map(|plan| self.power_off(plan))).await;
        ended.into_iter().collect()
    }
}

fn no_board(name: &Name) -> CliError {
    CliError::Failed(format!("no board '{name}' in this rack"))
}

/// The board's boot id: kept while it has power, new with every power-on.
fn boot_id(board: &BoardPlan) -> Result<String, CliError> {
    let path = board.run.join("boot-id");
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(text);
    }
    let id = files::random_hex()?[..32].to_owned();
    fs::write(&path, &id).map_err(|e| CliError::step(format!("writing {}", path.display()), e))?;
    Ok(id)
}

/// Not a container's process: those stay in the agent's cgroup of the hierarchies that carry no limit, and have a user
/// namespace, and mounts, of their own.
fn is_of_the_board(pid: u32) -> bool {
    let users = |process: &str| fs::read_link(format!("/proc/{process}/ns/user")).ok();
    users(&pid.to_string()).is_some_and(|theirs| Some(theirs) == users("self"))
}

/// The words for `roost dev-child` that make an agent.
fn agent_command(layout: &Layout, cgroups: &Hierarchies, board: &BoardPlan, boot_id: &str) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["--cgroup".into(), board.cgroup.clone().into(), "--netns".into()];
    words.push(network::netns_file(&board.netns).into());
    // A keeper that still runs has the board's mounts; a new agent joins it there.
    let processes = cgroups.agent_processes(&board.cgroup);
    match processes.iter().find(|pid| is_of_the_board(**pid)) {
        Some(pid) => words.extend(["--mountns".into(), format!("/proc/{pid}/ns/mnt").into()]),
        None => words.push("--private-mounts".into()),
    }
    words.extend(["--".into(), own_program().into(), "agent".into(), "run".into()]);
    let port = super::supervisor::controller_port(layout);
    let url = format!("http://{}:{port}", layout.bridge_address());
    let pairs: [(&str, OsString); 9] = [
        ("--controller", url.into()),
        ("--state", board.state.join("agent").into()),
        ("--secret-file", files::secret_path(board).into()),
        ("--run-dir", board.run.join("agent").into()),
        ("--cgroup-parent", board.cgroup.clone().into()),
        ("--thermal-root", board.thermal().into()),
        ("--boot-id", boot_id.into()),
        ("--cpu-millis", Boards::cpu_millis().to_string().into()),
        ("--address", board.address.to_string().into()),
    ];
    words.extend(pairs.into_iter().flat_map(|(flag, value)| [flag.into(), value]));
    words
}
