//! `roost node …`.

use reqwest::Method;
use roost_types::node::{PatchNode, PowerRequest};
use roost_types::{Eligibility, Node};

use super::finish;
use super::instance::word;
use crate::args::NodeCommand;
use crate::client::{Client, Outcome, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};
use crate::time;

/// Runs a verb on boards.
pub async fn run(client: &Client, style: Style, command: NodeCommand) -> Result<(), CliError> {
    match command {
        NodeCommand::List => list(client, style).await,
        NodeCommand::Info { node } => show(style, &client.get(&path(&node)).await?),
        NodeCommand::Cordon { node } => set_eligibility(client, &node, Eligibility::Cordoned).await,
        NodeCommand::Uncordon { node } => set_eligibility(client, &node, Eligibility::Eligible).await,
        NodeCommand::Drain { node, no_wait } => {
            let operation = client.act(Method::POST, &format!("{}/drain", path(&node))).await?;
            if let (Some(operation), false) = (operation, no_wait) {
                finish(client, style, operation, &format!("draining {node}")).await?;
            }
            print(&format!("{node}\n"))
        }
        NodeCommand::Power { node, action, despite_condensation } => {
            let body = PowerRequest { action: action.into(), despite_condensation };
            let url = format!("{}/power", path(&node));
            if let Outcome::Accepted(op) = client.change::<serde_json::Value>(Method::POST, &url, Some(&body)).await? {
                finish(client, style, *op, &format!("switching the power of {node}")).await?;
            }
            print(&format!("{node}\n"))
        }
    }
}

fn path(node: &str) -> String {
    format!("/v1/nodes/{}", segment(node))
}

async fn set_eligibility(client: &Client, node: &str, eligibility: Eligibility) -> Result<(), CliError> {
    let body = PatchNode { eligibility: Some(eligibility), ..PatchNode::default() };
    client.send(client.request(Method::PATCH, &path(node)).json(&body)).await?;
    print(&format!("{node}\n"))
}

async fn list(client: &Client, style: Style) -> Result<(), CliError> {
    let mut nodes: Vec<Node> = client.list("/v1/nodes").await?;
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    let row = |n: &Node| {
        vec![
            n.name.to_string(),
            n.status.as_str().to_owned(),
            word(&n.eligibility),
            n.thermal.state.to_string(),
            or_dash(n.thermal.estimate),
            or_dash(n.thermal.age_ms.map(time::reading_age)),
            format!("{}/{}", n.allocated.cpu_millis, n.capacity.cpu_millis),
            format!("{}/{}", n.allocated.memory_bytes.0 >> 20, n.capacity.memory_bytes.0 >> 20),
            n.instances.to_string(),
            or_dash(n.slot.as_ref()),
            or_dash(n.address),
        ]
    };
    let headings = [
        "NAME",
        "STATUS",
        "ELIGIBILITY",
        "THERMAL",
        "TEMP",
        "SEEN",
        "CPU(m)",
        "MEMORY(MiB)",
        "INSTANCES",
        "SLOT",
        "ADDRESS",
    ];
    print(&style.list(&nodes, &Columns { headings: &headings, row: &row, name: &|n| n.name.to_string() })?)
}

fn show(style: Style, n: &Node) -> Result<(), CliError> {
    let heat = &n.thermal;
    let mut lines = vec![
        ("Name", n.name.to_string()),
        ("Id", n.id.to_string()),
        ("Status", n.status.as_str().to_owned()),
        ("Eligibility", word(&n.eligibility)),
        ("Use", word(&n.used_for)),
        ("Thermal", format!("{}: {}", heat.state, heat.reason)),
        (
            "Temperature",
            format!("{} (predicted {}, soc {})", or_dash(heat.estimate), or_dash(heat.predicted), or_dash(heat.soc)),
        ),
        (
            "Learned",
            or_dash(
                heat.learned
                    .map(|rise| format!("{} over its air when idle, {} more at full load", rise.idle, rise.load)),
            ),
        ),
        ("Zone", format!("{} (inlet {})", or_dash(heat.zone.as_ref()), or_dash(heat.inlet))),
        ("Slot", or_dash(n.slot.as_ref())),
        ("Power", n.power.map_or_else(|| "no relay".to_owned(), |power| word(&power))),
        ("Address", or_dash(n.address)),
        ("Instances", format!("{} in {}", n.instances, n.prefix)),
        ("Cpu", format!("{} of {} millicores given out", n.allocated.cpu_millis, n.capacity.cpu_millis)),
        ("Memory", format!("{} of {} given out", n.allocated.memory_bytes, n.capacity.memory_bytes)),
        ("Load", or_dash(n.load.map(|l| format!("{:.0} %", l * 100.0)))),
        ("Last seen", or_dash(n.last_seen_at)),
    ];
    if let Some(facts) = &n.facts {
        let missing: Vec<&str> = facts.features.iter().filter(|f| !f.supported).map(|f| f.name.as_str()).collect();
        lines.extend([
            ("Kernel", format!("{} {}, cgroup {}", facts.arch, facts.kernel, word(&facts.cgroup))),
            ("Agent", facts.agent_version.clone()),
            ("Images", facts.images.len().to_string()),
            ("Lacks", if missing.is_empty() { "nothing".to_owned() } else { missing.join(", ") }),
        ]);
    }
    print(&style.one(n, n.name.as_str(), &lines)?)
}
