//! Which node fetches an image from which: the controller sends each image about once per rack.
//!
//! ```text
//!   nobody of the rack has it ──▶ the first that asks gets it from the controller, the others wait
//!   n01 has it ─────────────────▶ n02, n03 get it from n01
//!   n01, n02, n03 have it ──────▶ six more get it from them, and so on: a rack of N takes log N rounds
//! ```
//!
//! Only a whole image is given on: whether a part of one is right cannot be told. Nobody who waits holds anything, and a
//! download that does not move for [`STALLED_AFTER`] counts for nothing, so there is always one who may go on; the
//! controller gives the image to whom the nodes have failed.
//!
//! Everything here is live state. After a restart of the controller, downloads go on and tell of themselves.

use std::collections::BTreeMap;
use std::time::Duration;

use imbl::OrdMap;
use roost_types::image_transfer::{
    ImageDistribution, ImageFetch, ImageGrant, ImageGrants, ImageTraffic, MAX_SENT, TICKET_SECONDS,
};
use roost_types::{Image, ImageDigest, Name, NodeId, NodeStatus, Problem, ThermalState, Timestamp};

use crate::cluster::{Cluster, not_found};
use crate::command::Reply;
use crate::draft::Draft;
use crate::row::NodeRow;

/// Downloads that one node serves at once.
const SERVED_AT_ONCE: usize = 2;
/// A download that has not moved for so long is not waited for.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// A poll that was sent before a download began may arrive so much later.
const POLL_LAG: Duration = Duration::from_secs(5);
/// When so many nodes could not give an image, the controller does.
const NODES_TRIED: usize = 3;

/// Where a node gets an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Supply {
    /// From the controller.
    Controller,
    /// From a node of its rack.
    Node(NodeId),
    /// Soon from a node of its rack: one is getting it, or all that have it are busy.
    Later,
}

/// An image on its way to a node.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Transfer {
    /// The node that sends it; none for the controller.
    source: Option<NodeId>,
    ticket_sha256: String,
    granted_at: Timestamp,
    /// Bytes that have arrived.
    bytes: u64,
    /// When the last of them did.
    moved_at: Timestamp,
}

/// All images on their way to nodes.
#[derive(Clone, Debug, Default)]
pub struct Swarm {
    transfers: OrdMap<(NodeId, ImageDigest), Transfer>,
    /// Generation of what each node grants.
    grants: OrdMap<NodeId, u64>,
    /// Bytes that nodes have sent to others, by image.
    sent: OrdMap<ImageDigest, u64>,
    /// The same by node.
    sent_by: OrdMap<NodeId, u64>,
}

/// A node asks: what it is told is noted.
///
/// # Errors
/// `not_found` when nothing that the node should run needs the image.
pub fn ask(
    draft: &mut Draft,
    node: NodeId,
    image: &ImageDigest,
    failed: &[Name],
    ticket_sha256: &str,
) -> Result<Reply, Problem> {
    let (now, key) = (draft.now, (node, image.clone()));
    let supply = draft.cluster.image_supply(node, image, failed, now)?;
    let source = match supply {
        Supply::Later => return Ok(Reply::ImageSupply(supply)),
        Supply::Controller => None,
        Supply::Node(source) => Some(source),
    };
    let swarm = &mut draft.cluster.swarm;
    let bytes = swarm.transfers.get(&key).map_or(0, |earlier| earlier.bytes);
    let ticket_sha256 = ticket_sha256.to_owned();
    swarm.transfers.insert(key, Transfer { source, ticket_sha256, granted_at: now, bytes, moved_at: now });
    if let Some(source) = source {
        let last = swarm.grants.get(&source).copied().unwrap_or(0);
        swarm.grants.insert(source, u64::try_from(now.0).unwrap_or(0).max(last + 1));
    }
    Ok(Reply::ImageSupply(supply))
}

/// Takes over what a node's poll says of its downloads and of what it sent.
pub fn heard(draft: &mut Draft, node: NodeId, traffic: &ImageTraffic) {
    let now = draft.now;
    let before = draft.edit_live(node, |live| std::mem::replace(&mut live.images, traffic.clone()));
    let Cluster { swarm, images, nodes, .. } = &mut draft.cluster;
    for (image, bytes) in traffic.sent.iter().take(MAX_SENT).filter(|(image, _)| images.contains_key(*image)) {
        // An agent that was started anew counts from zero.
        let known = before.sent.get(image).copied().filter(|known| known <= bytes).unwrap_or(0);
        *swarm.sent.entry(image.clone()).or_default() += bytes - known;
        *swarm.sent_by.entry(node).or_default() += bytes - known;
    }
    for (image, bytes) in traffic.fetching.iter().filter(|(image, _)| images.contains_key(*image)) {
        let unknown =
            || Transfer { source: None, ticket_sha256: String::new(), granted_at: now, bytes: 0, moved_at: now };
        let transfer = swarm.transfers.entry((node, image.clone())).or_insert_with(unknown);
        if transfer.bytes != *bytes {
            (transfer.bytes, transfer.moved_at) = (*bytes, now);
        }
    }
    let facts = nodes.get(&node).and_then(|row| row.facts.as_ref());
    let ended = swarm.transfers.iter().filter(|((of, image), transfer)| {
        let is_here = facts.is_some_and(|facts| facts.images.contains(image));
        let is_silent = !traffic.fetching.contains_key(image) && now.since(transfer.granted_at) > POLL_LAG;
        *of == node && (is_here || is_silent)
    });
    for key in ended.map(|(key, _)| key.clone()).collect::<Vec<_>>() {
        swarm.transfers.remove(&key);
    }
}

impl Cluster {
    /// Where a node would get an image now, when `failed` could not give it.
    ///
    /// # Errors
    /// `not_found` when nothing that the node should run needs the image.
    pub fn image_supply(
        &self,
        node: NodeId,
        image: &ImageDigest,
        failed: &[Name],
        now: Timestamp,
    ) -> Result<Supply, Problem> {
        let fetcher = self.nodes.get(&node).ok_or_else(|| not_found("node", &node.to_string()))?;
        if !self.allocations_on(node).any(|allocation| allocation.spec.image == *image) {
            return Err(not_found("image for this node", image.as_str()));
        }
        if failed.len() >= NODES_TRIED || fetcher.facts.as_ref().is_none_or(|facts| facts.address.is_none()) {
            return Ok(Supply::Controller);
        }
        let mut sending: BTreeMap<NodeId, usize> = BTreeMap::new();
        let mut coming = false;
        let peers = |id: &NodeId| {
            self.nodes.get(id).filter(|row| {
                row.id != node && rack_of(row) == rack_of(fetcher) && !failed.contains(&row.name) && self.gives(row)
            })
        };
        for ((of, what), transfer) in self.active(now) {
            if let Some(source) = transfer.source {
                *sending.entry(source).or_default() += 1;
            }
            coming |= what == image && peers(of).is_some();
        }
        let busy = |row: &NodeRow| sending.get(&row.id).copied().unwrap_or(0);
        let holders = self.nodes.keys().filter_map(peers).filter(|row| holds(row, image));
        let best = holders.min_by_key(|row| (busy(row), self.warmth(row.id), &row.name));
        Ok(match best {
            Some(row) if busy(row) < SERVED_AT_ONCE => Supply::Node(row.id),
            Some(_) => Supply::Later,
            None if coming => Supply::Later,
            None => Supply::Controller,
        })
    }

    /// Downloads that move.
    fn active(&self, now: Timestamp) -> impl Iterator<Item = (&(NodeId, ImageDigest), &Transfer)> {
        self.swarm.transfers.iter().filter(move |((node, image), transfer)| {
            let is_here = self.nodes.get(node).is_none_or(|row| holds(row, image));
            !is_here && self.is_ready(*node) && now.since(transfer.moved_at) < STALLED_AFTER
        })
    }

    fn is_ready(&self, node: NodeId) -> bool {
        self.live.get(&node).is_some_and(|live| live.status == NodeStatus::Ready)
    }

    /// It answers, can be reached by others, and is not hot.
    fn gives(&self, row: &NodeRow) -> bool {
        let has_address = row.facts.as_ref().is_some_and(|facts| facts.address.is_some());
        let Some(live) = self.live.get(&row.id).filter(|_| has_address) else { return false };
        let is_cool = match live.heat.state() {
            ThermalState::Unknown | ThermalState::Nominal | ThermalState::Warm => true,
            ThermalState::Hot | ThermalState::Critical => false,
        };
        live.status == NodeStatus::Ready && live.images.port.is_some() && is_cool
    }

    /// The coolest first; those of unknown temperature last.
    fn warmth(&self, node: NodeId) -> i32 {
        self.live.get(&node).and_then(|live| live.heat.estimate()).map_or(i32::MAX, |estimate| estimate.0)
    }

    /// Address and port where a node gives images.
    #[must_use]
    pub fn image_server(&self, node: NodeId) -> Option<(std::net::Ipv4Addr, u16)> {
        let address = self.nodes.get(&node)?.facts.as_ref()?.address?;
        Some((address, self.live.get(&node)?.images.port?))
    }

    /// Generation of what a node grants; 0 before its first grant.
    #[must_use]
    pub fn grants_generation(&self, node: NodeId) -> u64 {
        self.swarm.grants.get(&node).copied().unwrap_or(0)
    }

    /// Who may fetch what from a node, unless its agent knows.
    #[must_use]
    pub fn image_grants(&self, node: NodeId, has_generation: u64, now: Timestamp) -> Option<ImageGrants> {
        let generation = self.grants_generation(node);
        if generation == has_generation {
            return None;
        }
        let good_for = Duration::from_secs(TICKET_SECONDS.into());
        let from_it = self.swarm.transfers.iter().filter(|(_, transfer)| transfer.source == Some(node));
        let grants = from_it.filter_map(|((to, image), transfer)| {
            let left = good_for.checked_sub(now.since(transfer.granted_at))?;
            Some(ImageGrant {
                image: image.clone(),
                to: self.nodes.get(to)?.facts.as_ref()?.address?,
                ticket_sha256: transfer.ticket_sha256.clone(),
                seconds: u32::try_from(left.as_secs()).unwrap_or(TICKET_SECONDS),
            })
        });
        Some(ImageGrants { generation, grants: grants.collect() })
    }

    /// Where an image is and how it got there; what the controller sent is for the caller to fill in.
    #[must_use]
    pub fn image_distribution(&self, image: &Image, now: Timestamp) -> ImageDistribution {
        let name = |id: NodeId| self.nodes.get(&id).map(|row| row.name.clone());
        let mut nodes: Vec<Name> =
            self.nodes.values().filter(|row| holds(row, &image.digest)).map(|row| row.name.clone()).collect();
        nodes.sort();
        let coming = self.active(now).filter(|((_, what), _)| *what == image.digest);
        let mut fetching: Vec<ImageFetch> = coming
            .filter_map(|((node, _), transfer)| {
                let source = transfer.source.and_then(name);
                Some(ImageFetch { node: name(*node)?, source, bytes: transfer.bytes })
            })
            .collect();
        fetching.sort_by(|a, b| a.node.cmp(&b.node));
        ImageDistribution {
            digest: image.digest.clone(),
            nodes,
            fetching,
            sent_by_controller: 0,
            sent_by_nodes: self.swarm.sent.get(&image.digest).copied().unwrap_or(0),
        }
    }

    /// Bytes of images that nodes have sent to others, by name.
    pub fn images_sent_by_nodes(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.swarm.sent_by.iter().filter_map(|(id, bytes)| Some((&self.nodes.get(id)?.name, *bytes)))
    }
}

fn holds(row: &NodeRow, image: &ImageDigest) -> bool {
    row.facts.as_ref().is_some_and(|facts| facts.images.contains(image))
}

/// Nodes that nobody gave a slot stand in one rack.
fn rack_of(row: &NodeRow) -> Option<&Name> {
    row.slot.as_ref().map(|slot| &slot.rack)
}
