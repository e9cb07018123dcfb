//! Every name, path and address of one rack. Pure, so that two racks on one machine can be shown never to meet.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use roost_types::cooling::RELAYS_OF_A_HUB;
use roost_types::rack::ProbeId;
use roost_types::{HubOutput, Name, Slot};

use super::wires::FANS;

/// Boards that fit on a shelf before another shelf is used.
const SHELF: u16 = 4;
/// Shelves at least, where there are boards for them: with half of the boards on one shelf, heating it would look like a
/// cooling failure of the whole rack, and the brake would keep everything where it is.
const FEWEST_SHELVES: u16 = 3;
/// Shelves at most: a hub has eight probes.
const SHELVES: u16 = 8;
/// The first board's last octet.
const FIRST_BOARD: u16 = 10;
/// The cgroup below which every rack has its own.
pub const CGROUP_ROOT: &str = "roost-dev";
/// Name of the hub.
const HUB: &str = "hub0";

/// One rack on this machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Number of the rack, 1 to 254: the third octet of its network.
    pub id: u8,
    /// Where state is kept.
    pub state: PathBuf,
    /// Number of boards.
    pub boards: u16,
}

/// One board.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoardPlan {
    /// Name of the node.
    pub name: Name,
    /// Network namespace.
    pub netns: String,
    /// The bridge's end of its cable.
    pub veth: String,
    /// Address on the rack's LAN.
    pub address: Ipv4Addr,
    /// Cgroup below each hierarchy's root.
    pub cgroup: String,
    /// Where it stands.
    pub slot: Slot,
    /// What lives until power-off.
    pub run: PathBuf,
    /// What lives longer.
    pub state: PathBuf,
}

impl BoardPlan {
    /// The SoC's thermal sensors.
    pub fn thermal(&self) -> PathBuf {
        self.run.join("thermal")
    }

    /// Index of the shelf, from 0.
    pub fn shelf(&self) -> usize {
        usize::from(self.slot.shelf) - 1
    }
}

impl Layout {
    /// The number a state directory would like to have; FNV-1a over its path.
    pub fn preferred_id(state: &Path) -> u8 {
        let hash = state
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        u8::try_from(hash % 254 + 1).unwrap_or(1)
    }

    /// What lives as long as the rack runs.
    pub fn run(&self) -> PathBuf {
        run_root().join(self.id.to_string())
    }

    /// The supervisor's socket.
    pub fn socket(&self) -> PathBuf {
        self.run().join("dev.sock")
    }

    /// The hub's line as the controller opens it.
    pub fn hub_path(&self) -> PathBuf {
        self.run().join(HUB)
    }

    /// The hub's name.
    pub fn hub_name(&self) -> Name {
        // The constant is a name.
        HUB.parse().unwrap_or_else(|_| unreachable!("{HUB} is a name"))
    }

    /// The file with address and token.
    pub fn context(&self) -> PathBuf {
        self.state.join("context.yaml")
    }

    /// A log file.
    pub fn log(&self, name: &str) -> PathBuf {
        self.state.join("log").join(format!("{name}.log"))
    }

    /// The bridge that is the rack's LAN.
    pub fn bridge(&self) -> String {
        format!("rb{}", self.id)
    }

    /// The controller's address on the rack's LAN.
    pub fn bridge_address(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 66, self.id, 1)
    }

    /// The cgroup that holds all boards.
    pub fn cgroup(&self) -> String {
        format!("{CGROUP_ROOT}/{}", self.id)
    }

    /// Beginning of the names of its network namespaces.
    pub fn netns_prefix(&self) -> String {
        format!("roost-{}-", self.id)
    }

    /// Boards on one shelf.
    fn shelf_length(&self) -> u16 {
        let shelves = self.boards.div_ceil(SHELF).clamp(FEWEST_SHELVES, SHELVES);
        self.boards.div_ceil(shelves).max(1)
    }

    /// Number of shelves.
    pub fn shelves(&self) -> u16 {
        self.boards.div_ceil(self.shelf_length())
    }

    /// Zone of a shelf, from index 0.
    pub fn zone(&self, shelf: usize) -> Name {
        let name = format!("shelf-{}", shelf + 1);
        name.parse().unwrap_or_else(|_| unreachable!("{name} is a name"))
    }

    /// Probe of a shelf, from index 0.
    pub fn probe(&self, shelf: usize) -> ProbeId {
        ProbeId { hub: self.hub_name(), number: u8::try_from(shelf + 1).unwrap_or(u8::MAX) }
    }

    /// Fan output of a shelf, from index 0: its two fans share it, and with more than four shelves two shelves do.
    pub fn fan(&self, shelf: usize) -> HubOutput {
        HubOutput { hub: self.hub_name(), number: u8::try_from(fan_of(shelf) + 1).unwrap_or(u8::MAX) }
    }

    /// Boards whose supply goes through a relay of the hub: the first eight.
    pub fn relays(&self) -> u16 {
        self.boards.min(RELAYS_OF_A_HUB.into())
    }

    /// The boards, first to last.
    pub fn plans(&self) -> Vec<BoardPlan> {
        (0..self.boards).map(|index| self.plan(index)).collect()
    }

    fn plan(&self, index: u16) -> BoardPlan {
        let text = format!("n{:02}", index + 1);
        let length = self.shelf_length();
        let rack = "r1".parse().unwrap_or_else(|_| unreachable!("r1 is a name"));
        BoardPlan {
            netns: format!("{}{text}", self.netns_prefix()),
            veth: format!("rv{}{text}", self.id),
            address: Ipv4Addr::new(10, 66, self.id, u8::try_from(FIRST_BOARD + index).unwrap_or(u8::MAX)),
            cgroup: format!("{}/{text}", self.cgroup()),
            slot: Slot { rack, shelf: index / length + 1, position: index % length + 1 },
            run: self.run().join("boards").join(&text),
            state: self.state.join("boards").join(&text),
            name: text.parse().unwrap_or_else(|_| unreachable!("{text} is a name")),
        }
    }
}

/// Index of the fan output that drives a shelf's fans; a hub has four.
pub const fn fan_of(shelf: usize) -> usize {
    shelf % FANS
}

/// The directory below which every rack has its own.
pub fn run_root() -> PathBuf {
    PathBuf::from("/run/roost-dev")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn layout(id: u8, boards: u16) -> Layout {
        Layout { id, state: "/s".into(), boards }
    }

    #[test]
    fn names_and_addresses_follow_from_number_and_index() {
        let plans = layout(7, 12).plans();
        let last = &plans[11];
        assert_eq!((last.name.as_str(), last.netns.as_str(), last.veth.as_str()), ("n12", "roost-7-n12", "rv7n12"));
        assert_eq!((last.address.to_string(), last.slot.to_string()), ("10.66.7.21".into(), "r1/3/4".into()));
        assert_eq!(last.cgroup, "roost-dev/7/n12");
        assert_eq!(layout(7, 12).probe(1).to_string(), "hub0:2");
    }

    #[test]
    fn every_size_of_rack_fits_its_shelves_and_interface_names() {
        for boards in 1..=200 {
            let layout = layout(254, boards);
            let plans = layout.plans();
            assert!((1..=SHELVES).contains(&layout.shelves()));
            assert_eq!(plans.iter().map(|p| &p.slot).collect::<BTreeSet<_>>().len(), usize::from(boards));
            assert_eq!(plans.iter().map(|p| p.address).collect::<BTreeSet<_>>().len(), usize::from(boards));
            assert!(plans.iter().all(|p| p.veth.len() <= 15 && p.shelf() < usize::from(layout.shelves())));
        }
    }

    #[test]
    fn the_number_depends_on_the_state_directory_only() {
        assert_eq!(Layout::preferred_id(Path::new("/a")), Layout::preferred_id(Path::new("/a")));
        let ids: BTreeSet<u8> = (0..100).map(|n| Layout::preferred_id(&PathBuf::from(format!("/s/{n}")))).collect();
        assert!(ids.len() > 50 && !ids.contains(&0) && !ids.contains(&255));
    }
}
