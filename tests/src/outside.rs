//! A machine beyond the one that the rack runs on: it knows no way to the rack, answers names and serves files.
//!
//! It is a network namespace with one cable to this machine, dnsmasq and BusyBox's httpd in it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::until;

/// The machine.
#[derive(Debug)]
pub struct Outside {
    name: String,
    directory: PathBuf,
    gateway: Ipv4Addr,
    services: Vec<Child>,
}

impl Outside {
    /// The name it answers for.
    pub const NAME: &str = "outside.roost.example";

    /// Makes it and starts its services.
    ///
    /// # Errors
    /// It cannot be made, or a service does not start.
    pub fn start() -> Result<Self> {
        let id = std::process::id();
        // A network for measuring machines, RFC 2544: nobody else has it.
        let third = u8::try_from(id % 250)?;
        let (gateway, address) = (Ipv4Addr::new(198, 18, third, 1), Ipv4Addr::new(198, 18, third, 2));
        let directory = std::env::temp_dir().join(format!("roost-outside-{id}"));
        fs::create_dir_all(directory.join("www")).with_context(|| format!("make {}", directory.display()))?;
        let mut outside = Self { name: format!("ro{id}"), directory, gateway, services: Vec::new() };
        let name = outside.name.clone();
        ip(&["netns", "add", &name])?;
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["addr", "add", &format!("{gateway}/24"), "dev", &name])?;
        ip(&["link", "set", &name, "up"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "addr", "add", &format!("{address}/24"), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        fs::write(outside.resolv_conf(), format!("nameserver {address}\n")).context("write resolv.conf")?;
        let answer = format!("--address=/{}/{address}", Self::NAME);
        outside.serve(&[
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            &answer,
        ])?;
        let www = outside.www().display().to_string();
        outside.serve(&["busybox", "httpd", "-f", "-p", "80", "-h", &www])?;
        fs::write(outside.www().join("here"), "far away\n").context("write a file to serve")?;
        until("the machine outside serves", || {
            let got =
                Command::new("busybox").args(["wget", "-q", "-O", "-", &format!("http://{address}/here")]).output()?;
            Ok((got.stdout == b"far away\n").then_some(()))
        })?;
        Ok(outside)
    }

    fn serve(&mut self, words: &[&str]) -> Result<()> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, "setpriv", "--pdeathsig", "KILL"]).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        self.services.push(command.spawn().with_context(|| format!("start {}", words[0]))?);
        Ok(())
    }

    /// A file that names it as resolver.
    #[must_use]
    pub fn resolv_conf(&self) -> PathBuf {
        self.directory.join("resolv.conf")
    }

    /// What is put here it serves at `http://NAME/`.
    #[must_use]
    pub fn www(&self) -> PathBuf {
        self.directory.join("www")
    }

    /// The address of this machine that it sees.
    #[must_use]
    pub const fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Makes it send what is for an address of the rack to this machine.
    ///
    /// # Errors
    /// The route is refused.
    pub fn learn_the_way_to(&self, address: Ipv4Addr) -> Result<()> {
        let (to, via) = (format!("{address}/32"), self.gateway.to_string());
        ip(&["-n", &self.name, "route", "replace", &to, "via", &via])
    }

    /// Runs a program on it: whether it succeeds.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn succeeds(&self, words: &[&str]) -> Result<bool> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(words).stdin(Stdio::null());
        Ok(command.output().with_context(|| format!("start {words:?}"))?.status.success())
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for service in &mut self.services {
            let _ = service.kill();
            let _ = service.wait();
        }
        // The cable goes with its other end.
        for words in [["link", "del", self.name.as_str()], ["netns", "del", self.name.as_str()]] {
            if let Err(error) = ip(&words) {
                eprintln!("{error:#}");
            }
        }
        remove(&self.directory);
    }
}

fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        eprintln!("remove {}: {error}", directory.display());
    }
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("start ip")?;
    ensure!(output.status.success(), "ip {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
