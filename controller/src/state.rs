//! What every handler shares.

use std::sync::Arc;

use crate::agents::streams::Streams;
use crate::alerts::Receivers;
use crate::core::Core;
use crate::credentials::{Credentials, Sessions};
use crate::dev::DevSocket;
use crate::feed::RackFeed;
use crate::images::ImageStore;
use crate::images::import::Importer;
use crate::power::PowerDriver;

/// The controller as its handlers see it.
pub struct App {
    /// Commands go in, snapshots come out.
    pub core: Core,
    /// Image files.
    pub images: ImageStore,
    /// Makes images of archives.
    pub importer: Importer,
    /// Byte streams between users and agents.
    pub streams: Streams,
    /// Who may do what.
    pub credentials: Credentials,
    /// Sessions of the dashboard.
    pub sessions: Sessions,
    /// Who is told of alerts.
    pub receivers: Receivers,
    /// Switches boards on and off.
    pub power: Arc<dyn PowerDriver>,
    /// The supervisor of a rack in a box, if this is one.
    pub dev: Option<DevSocket>,
    /// The rack, at most once a second.
    pub rack: RackFeed,
}
