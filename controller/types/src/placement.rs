//! Placement: where an instance may run, and why it runs where it does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::size::Arch;
use crate::{Name, Timestamp};

/// Where an instance may run; every part must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Constraints {
    /// Only this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Only this instruction set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<Arch>,
    /// Only nodes with all these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Constraints {
    /// Nothing is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why a node cannot take an instance; the first that applies, in this order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Filter {
    /// The agent does not answer.
    Status,
    /// Cordoned or draining.
    Eligibility,
    /// Handed out whole.
    Use,
    /// Another instruction set than the image's.
    Arch,
    /// A constraint does not hold.
    Constraint,
    /// Hot or critical.
    Thermal,
    /// It had a temperature source and lost it.
    SensorLost,
    /// The kernel cannot enforce a limit.
    Feature,
    /// A published port is taken there.
    Port,
    /// Not enough free cpu.
    Cpu,
    /// Not enough free memory.
    Memory,
    /// No free address in its instance network.
    Address,
}

/// One named, weighted part of a node's score.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Score {
    /// 0 (worst) to 1 (best).
    pub value: f64,
    /// Its weight.
    pub weight: f64,
}

/// A node that could take the instance.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ScoredNode {
    /// Name.
    pub node: Name,
    /// Weighted mean of the scores.
    pub total: f64,
    /// `thermal`, `image`, `sharing`, `spread`, `packing`.
    pub scores: BTreeMap<String, Score>,
}

/// A node that could not.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FilteredNode {
    /// Name.
    pub node: Name,
    /// The first filter that applies.
    pub filter: Filter,
    /// With numbers: `inlet 41.0 °C ≥ hot 35.0 °C in zone shelf-1, 1.2 s old`.
    pub detail: String,
}

/// A decision and its reasons: `GET /v1/instances/{i}/placement`, `POST /v1/placements`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placement {
    /// The node chosen; none when the instance must wait.
    pub node: Option<Name>,
    /// When it was decided.
    pub decided_at: Timestamp,
    /// A sentence that reads alone.
    pub message: String,
    /// Number of nodes looked at.
    pub evaluated: u32,
    /// How many nodes each filter removed.
    pub filtered_by: BTreeMap<Filter, u32>,
    /// Nodes that could take it, best first; at most 20.
    pub candidates: Vec<ScoredNode>,
    /// Nodes that could not; at most 100.
    pub filtered: Vec<FilteredNode>,
}
