//! The rack in a box: `/v1/dev/…`, answered only by a controller that `roost dev` started.

use serde::{Deserialize, Serialize};

use crate::{MilliCelsius, Name, PowerAction};

/// `POST /v1/dev/commands`, and what goes over the supervisor's socket, one JSON line each.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum DevCommand {
    /// Hold the air at a zone's inlet at a temperature; without one, let the heat model decide again.
    Heat {
        /// The zone.
        zone: Name,
        /// -40 to 125 °C, what the simulated chip can measure.
        celsius: Option<MilliCelsius>,
        /// Relative humidity in percent to hold there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        humidity: Option<crate::MilliPercent>,
    },
    /// Let the fans of a zone's shelf turn, or stop them.
    Fans {
        /// The zone.
        zone: Name,
        /// They turn.
        turning: bool,
    },
    /// Set the room's temperature.
    Room {
        /// 0 to 60 °C.
        celsius: MilliCelsius,
    },
    /// Pull the hub's plug, or put it back.
    Hub {
        /// Plugged in.
        plugged: bool,
    },
    /// Send bytes down the hub's line as if the firmware had.
    Noise {
        /// The bytes, as text.
        text: String,
    },
    /// Switch a board's power.
    Power {
        /// The board.
        node: Name,
        /// What to do.
        action: PowerAction,
    },
    /// Show the state of the box.
    Status,
}

/// The supervisor's answer, one JSON line.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DevReply {
    /// It was done.
    pub ok: bool,
    /// What was done, or why it was not.
    pub message: String,
}
