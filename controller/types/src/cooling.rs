//! What a hub drives: fans that cool zones, relays that power boards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{MilliPercent, Name};

/// Fans of a hub are numbered from 1 to this.
pub const FANS_OF_A_HUB: u8 = 4;
/// Relays of a hub are numbered from 1 to this.
pub const RELAYS_OF_A_HUB: u8 = 8;

/// A fan or relay, written `HUB:NUMBER`, for example `hub0:1`: the hub's name and the number on the hub's line.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HubOutput {
    /// The hub.
    pub hub: Name,
    /// Number of the fan or relay on that hub, from 1.
    pub number: u8,
}

impl FromStr for HubOutput {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is not HUB:NUMBER, for example hub0:1");
        let (hub, number) = text.split_once(':').ok_or_else(wrong)?;
        Ok(Self {
            hub: hub.parse().map_err(|_| wrong())?,
            number: number.parse().ok().filter(|n| *n > 0).ok_or_else(wrong)?,
        })
    }
}

impl fmt::Display for HubOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.hub, self.number)
    }
}

impl Serialize for HubOutput {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HubOutput {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A fan as the API shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fan {
    /// `HUB:NUMBER`.
    pub id: HubOutput,
    /// How hard it should be driven, percent.
    pub wanted: MilliPercent,
    /// How hard its hub drives it, percent; absent while the hub has not said.
    pub duty: Option<MilliPercent>,
    /// Turns a minute by its tachometer; absent while the hub has not said.
    pub rpm: Option<u16>,
    /// It is driven and does not turn.
    pub stalled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_reads_back_as_written() {
        assert_eq!("hub0:4".parse::<HubOutput>().unwrap().to_string(), "hub0:4");
        for bad in ["", "hub0", "hub0:0", "hub0:x", ":1", "hub0:256"] {
            assert!(bad.parse::<HubOutput>().is_err(), "{bad}");
        }
    }
}
