//! Images on their way to nodes: who has them from whom.
//!
//! ```text
//!   agent ── POST /agent/v1/images/{digest}/source ──▶ controller      "where do I get it?"
//!         ◀─ ImageSource: the controller, a node and a ticket, or: later
//!   controller ── ImageGrants, with that node's poll ──▶ the node      "this ticket is good for one minute"
//!   agent ── GET /image/{digest}, Bearer ticket ──▶ the node
//! ```

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::Name;
use crate::image::ImageDigest;

/// TCP port of a node, on its address on the rack's LAN alone, where other nodes of the rack fetch images.
pub const PEER_PORT: u16 = 7701;
/// Seconds that a ticket is good for. A download that began in time goes on.
pub const TICKET_SECONDS: u32 = 60;
/// The most images that one [`ImageTraffic`] tells of sending.
pub const MAX_SENT: usize = 64;
/// The most sources that one [`AskImageSource`] names as failed.
pub const MAX_FAILED: usize = 16;

/// Up, `POST /agent/v1/images/{digest}/source`: a node needs an image.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskImageSource {
    /// Nodes that could not give it: no answer, too slow, or other bytes than the digest stands for.
    pub failed: Vec<Name>,
}

/// Down: where the node gets it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum ImageSource {
    /// From the controller.
    Controller,
    /// From another node of the rack.
    Node {
        /// Its name.
        node: Name,
        /// Its address on the rack's LAN.
        address: Ipv4Addr,
        /// Its port for images.
        port: u16,
        /// 64 hexadecimal digits, good for this image and this node for [`TICKET_SECONDS`].
        ticket: String,
    },
    /// Another node of the rack is getting it, or all that have it are busy: ask again at once.
    Later,
}

/// Down: who may fetch what from this node.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ImageGrants {
    /// Grows with every grant, over restarts of the controller too; echoed in [`ImageTraffic::grants`].
    pub generation: u64,
    /// All that are good now.
    pub grants: Vec<ImageGrant>,
}

/// A node may fetch an image from this one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ImageGrant {
    /// Which image.
    pub image: ImageDigest,
    /// The fetching node's address on the rack's LAN.
    pub to: Ipv4Addr,
    /// SHA-256 of the ticket, 64 hexadecimal digits.
    pub ticket_sha256: String,
    /// How long it is good from now on.
    pub seconds: u32,
}

/// Up, with every poll: what a node does with images. Nothing of it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageTraffic {
    /// Where it gives images to other nodes of its rack; absent when it gives none.
    pub port: Option<u16>,
    /// [`ImageGrants::generation`] of the grants it has; 0 for none.
    pub grants: u64,
    /// Downloads under way, and the bytes of each that are here.
    pub fetching: BTreeMap<ImageDigest, u64>,
    /// Bytes sent to other nodes since the agent started, by image; of at most [`MAX_SENT`].
    pub sent: BTreeMap<ImageDigest, u64>,
}

/// `GET /v1/images/{image}/distribution`: where an image is and how it got there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageDistribution {
    /// The image.
    pub digest: ImageDigest,
    /// Nodes that have it, by name.
    pub nodes: Vec<Name>,
    /// Nodes that are getting it, by name.
    pub fetching: Vec<ImageFetch>,
    /// Bytes of it that this controller has sent to nodes since it started.
    pub sent_by_controller: u64,
    /// Bytes of it that nodes have sent to others, as far as this controller has heard since it started.
    pub sent_by_nodes: u64,
}

/// An image on its way to a node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ImageFetch {
    /// Which node.
    pub node: Name,
    /// The node that sends it; absent for the controller.
    pub source: Option<Name>,
    /// Bytes that have arrived.
    pub bytes: u64,
}
