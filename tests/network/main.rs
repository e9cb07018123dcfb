//! The network of instances on a rack of three boards: who knows whom, who reaches whom, and what becomes of it when
//! somebody changes it.
//!
//! | file | what it shows |
//! |---|---|
//! | `names` | names over the whole rack, and that they come back |
//! | `pins` | an instance can say nothing in another's name |
//! | `projects` | instances of one project reach each other, those of another only published ports |
//! | `ports` | published ports over UDP |
//! | `repair` | what is changed is put back and told |

mod names;
mod pins;
mod ports;
mod projects;
mod repair;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::suite::{self, World};
use roost_types::name::reference;
use roost_types::{Instance, InstanceState};

/// Boards of the rack.
const BOARDS: u32 = 3;
/// Thermal states dwell so many times shorter than on a real rack.
const TIME_SCALE: u32 = 20;

struct Network {
    rack: Rack,
    udp: Udp,
}

/// The program in `udp.c`, made for this run.
struct Udp {
    program: PathBuf,
}

impl Udp {
    fn make() -> Result<Self> {
        let program = std::env::temp_dir().join(format!("roost-test-udp-{}", std::process::id()));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("network/udp.c");
        let mut compiler = Command::new("cc");
        let made = compiler.args(["-O2", "-Wall", "-Wextra", "-static", "-o"]).arg(&program).arg(source).output();
        let made = made.context("start cc")?;
        ensure!(made.status.success(), "cc: {}", String::from_utf8_lossy(&made.stderr));
        Ok(Self { program })
    }

    /// Its path on this machine, where boards find it too.
    fn path(&self) -> Result<&str> {
        self.program.to_str().context("the temporary directory's name is not text")
    }

    /// Puts it into an instance as `/bin/udp`.
    fn put_into(&self, rack: &Rack, instance: &str) -> Result<()> {
        let bytes = fs::read(&self.program).context("read the program")?;
        let write = "cat > /bin/udp && chmod 755 /bin/udp";
        rack.fed(&["exec", "-i", instance, "--", "sh", "-c", write], bytes).map(drop)
    }
}

impl Drop for Udp {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.program);
    }
}

impl World for Network {
    fn start() -> Result<Self> {
        Ok(Self { udp: Udp::make()?, rack: Rack::start("network", BOARDS, TIME_SCALE)? })
    }

    fn tidy(&mut self) -> Result<()> {
        self.rack.empty()
    }

    fn stop(self) -> Result<()> {
        self.rack.stop()
    }

    fn tell(&self) -> String {
        self.rack.said()
    }
}

/// Launches an instance that serves its `/etc` on port 80, on a board, with more flags if wanted.
fn serve(rack: &Rack, project: &str, name: &str, board: &str, flags: &[&str]) -> Result<Instance> {
    launch(rack, project, name, board, flags, &["httpd", "-f", "-p", "80", "-h", "/etc"])
}

fn launch(rack: &Rack, project: &str, name: &str, board: &str, flags: &[&str], command: &[&str]) -> Result<Instance> {
    let words = ["launch", "busybox", name, "--project", project, "--node", board];
    rack.roost(&[&words[..], flags, &["--"], command].concat())?;
    rack.api.wait_for(&reference(&project.parse()?, &name.parse()?), InstanceState::Running)
}

/// What an instance gets from `host` by HTTP within 3 s; none when it cannot.
fn fetched(rack: &Rack, from: &Instance, host: &str) -> Result<Option<String>> {
    let from = reference(&from.project, &from.name);
    let url = format!("http://{host}/hostname");
    let said = rack.run(&["exec", &from, "--", "timeout", "3", "wget", "-q", "-O", "-", &url])?;
    Ok((said.code == 0).then_some(said.stdout))
}

fn main() -> ExitCode {
    suite::run::<Network>(&[
        ("names::a_name_is_known_over_the_whole_rack", |w| names::a_name_is_known_over_the_whole_rack(&w.rack)),
        ("names::they_come_back_with_a_new_agent", |w| names::they_come_back_with_a_new_agent(&w.rack)),
        ("pins::another_source_address_is_dropped", |w| pins::another_source_address_is_dropped(&w.rack)),
        ("pins::another_hardware_address_is_dropped", |w| pins::another_hardware_address_is_dropped(&w.rack)),
        ("pins::nobody_speaks_for_the_gateway", |w| pins::nobody_speaks_for_the_gateway(&w.rack)),
        ("pins::nobody_is_a_dhcp_server_or_a_router", |w| pins::nobody_is_a_dhcp_server_or_a_router(&w.rack, &w.udp)),
        ("projects::only_ones_own_is_reached", |w| projects::only_ones_own_is_reached(&w.rack)),
        ("projects::anothers_published_port_is_reached", |w| projects::anothers_published_port_is_reached(&w.rack)),
        ("ports::udp_answers_from_everywhere", |w| ports::udp_answers_from_everywhere(&w.rack, &w.udp)),
        ("ports::two_of_one_port_collide_unless_the_protocol_differs", |w| {
            ports::two_of_one_port_collide_unless_the_protocol_differs(&w.rack)
        }),
        ("repair::what_is_changed_is_put_back_and_told", |w| repair::what_is_changed_is_put_back_and_told(&w.rack)),
    ])
}
