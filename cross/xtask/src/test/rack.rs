//! A `roost dev` for as long as a test needs it.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::repo;
use crate::step;

/// The name of the rack's log.
const LOG: &str = "dev";

/// The first start compiles the firmware.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// After a SIGINT every board, container and namespace is taken away.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// A running rack in a box. Dropped without [`Rack::stop`], it is interrupted all the same.
pub struct Rack {
    child: Child,
    state: PathBuf,
    /// Where it is and how to get in.
    pub access: Access,
}

/// What `roost dev` writes for its clients.
#[derive(Deserialize, Default)]
pub struct Access {
    /// The base of the API.
    pub url: String,
    /// The administrator's.
    pub token: String,
}

impl Rack {
    /// Starts a rack of six boards on a free port and waits until it is ready.
    ///
    /// # Errors
    /// It ends, or is not ready in time; the tail of its log is printed.
    pub fn start() -> Result<Self> {
        let state = std::env::temp_dir().join(format!("roost-xtask-{}", std::process::id()));
        let address = free_address()?;
        // Should this process be killed, the rack is interrupted and takes itself away.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "INT"]).arg(repo::target_dir().join("debug/roost"));
        command.args(["dev", "--rack", "6", "--no-install", "--time-scale", "20"]);
        command.arg("--listen").arg(address.to_string()).arg("--state").arg(&state);
        // `dev` also adds itself to the user's contexts; this one is nobody's to use.
        command.env("XDG_CONFIG_HOME", state.join("config"));
        let child = step::start(LOG, command.current_dir(repo::root()))?;
        let mut rack = Self { child, state, access: Access::default() };
        match rack.wait_until_ready(address) {
            Ok(access) => rack.access = access,
            Err(error) => {
                step::print_tail(LOG)?;
                return Err(error);
            }
        }
        Ok(rack)
    }

    fn wait_until_ready(&mut self, address: SocketAddr) -> Result<Access> {
        let end = Instant::now() + READY_WITHIN;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().context("wait for roost dev")? {
                bail!("roost dev ended before it was ready: {status}");
            }
            if is_ready(address).unwrap_or(false) {
                return self.read_access();
            }
            sleep(Duration::from_millis(100));
        }
        bail!("roost dev was not ready within {} s", READY_WITHIN.as_secs())
    }

    fn read_access(&self) -> Result<Access> {
        let path = self.state.join("context.yaml");
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_yaml::from_str(&text).with_context(|| format!("parse {}", path.display()))
    }

    /// Interrupts it and waits until it is gone.
    ///
    /// # Errors
    /// It does not end in time, or not well; the tail of its log is printed.
    pub fn stop(mut self) -> Result<()> {
        let ended = self.interrupt();
        if ended.is_err() {
            step::print_tail(LOG)?;
        }
        ended
    }

    fn interrupt(&mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).context("a process id")?);
        kill(pid, Signal::SIGINT).context("interrupt roost dev")?;
        let Some(status) = step::wait(&mut self.child, GONE_WITHIN)? else {
            self.child.kill().context("kill roost dev")?;
            self.child.wait().context("wait for roost dev")?;
            bail!("roost dev did not end within {} s of a SIGINT", GONE_WITHIN.as_secs());
        };
        ensure!(status.success(), "roost dev did not end well after a SIGINT: {status}");
        fs::remove_dir_all(&self.state).with_context(|| format!("remove {}", self.state.display()))
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait()
            && let Err(error) = self.interrupt()
        {
            println!("{error:#}");
        }
    }
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?;
    listener.local_addr().context("find a free port")
}

fn is_ready(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}
