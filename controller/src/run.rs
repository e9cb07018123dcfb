//! Starting and stopping a controller: the order in which its parts come up and go down.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ipnet::IpNet;
use roost_model::{Cluster, Command, Config};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::agents::streams::Streams;
use crate::core::Core;
use crate::credentials::Sessions;
use crate::dev::DevSocket;
use crate::feed::RackFeed;
use crate::images::ImageStore;
use crate::images::fetch::Fetcher;
use crate::images::import::Importer;
use crate::power::{DevPower, NoPower, PowerDriver, RelayPower};
use crate::random::Seeds;
use crate::sensors::Sensors;
use crate::state::App;
use crate::store::Store;
use crate::{api, config, server};

/// How often the model looks at the time.
const TICK: Duration = Duration::from_millis(250);

/// What a controller is started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory of database and images.
    pub state: PathBuf,
    /// Addresses of API, dashboard and agents.
    pub listen: Vec<SocketAddr>,
    /// `rack.yaml`.
    pub rack: PathBuf,
    /// Names and secrets' digests of nodes.
    pub nodes: PathBuf,
    /// Digests of people's tokens.
    pub tokens: PathBuf,
    /// `alerts.yaml`; without, the one in `/etc/roost` if there is one.
    pub alerts: Option<PathBuf>,
    /// Socket of the supervisor of a rack in a box.
    pub dev_socket: Option<PathBuf>,
    /// Thermal dwell times, and the pause between two moves of an instance, are divided by this.
    pub time_scale: u32,
    /// Private networks that images may be fetched from.
    pub allow_image_sources: Vec<IpNet>,
    /// Words between this program's name and a verb of the controller's.
    pub program_words: Vec<String>,
}

/// Runs a controller until SIGTERM or SIGINT.
///
/// # Errors
/// When a file, the state directory, the database or an address cannot be used.
pub async fn until_signal(settings: Settings) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen to SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen to SIGINT")?;
    let stop = watch::Sender::new(false);
    let running = run(settings, stop.subscribe());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => return ended,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.send_replace(true);
    running.await
}

/// Runs a controller until `stop` is true.
///
/// # Errors
/// As [`until_signal`].
pub async fn run(settings: Settings, mut stop: watch::Receiver<bool>) -> Result<()> {
    let rack = config::rack(&settings.rack)?;
    let credentials = config::credentials(&settings.tokens, &settings.nodes)?;
    let receivers = config::alerts(settings.alerts.as_deref())?;
    std::fs::create_dir_all(&settings.state).with_context(|| format!("cannot make {}", settings.state.display()))?;
    let store = Store::open(&settings.state).await?;
    tracing::info!(sqlite.version = store.sqlite_version().await?, state = %settings.state.display(), "the store is open");
    let mut model = model_config(rack, settings.time_scale);
    model.power_everywhere = settings.dev_socket.is_some();
    model.alert_receivers = receivers.for_model();
    let hubs = model.rack.hubs.clone();
    let cluster = Cluster::load(model, store.load().await?, crate::clock::now());
    let (core, owner) = Core::start(cluster, store, Seeds::new().context("the kernel gives no randomness")?);

    begin(&core, credentials.node_names()).await?;
    let known = core.snapshot().images().map(|image| image.digest.clone()).collect();
    let images = ImageStore::open(&settings.state, &known).context("cannot open the image store")?;
    let fetcher = Fetcher::new(settings.allow_image_sources).context("cannot set up TLS")?;
    let importer = Importer::new(settings.program_words, fetcher);
    let ticker = tokio::spawn(tick(core.clone()));
    let sensors = Sensors::start(&hubs, &core).context("cannot start the hubs' threads")?;
    let dev = settings.dev_socket.map(DevSocket::new);
    let others: Arc<dyn PowerDriver> = match &dev {
        Some(socket) => Arc::new(DevPower(socket.clone())),
        None => Arc::new(NoPower),
    };
    let power: Arc<dyn PowerDriver> = Arc::new(RelayPower::new(core.clone(), others));
    let cuts = tokio::spawn(crate::power::follow(core.clone(), Arc::clone(&power)));
    let telling = receivers.start(&core);
    let app = Arc::new(App {
        rack: RackFeed::start(core.clone()),
        core,
        images,
        importer,
        streams: Streams::default(),
        credentials,
        sessions: Sessions::default(),
        receivers,
        power,
        dev,
    });
    let served = listen(&app, &settings.listen, &mut stop).await;

    drop(sensors);
    ticker.abort();
    cuts.abort();
    drop(telling);
    drop(app);
    // The owner ends once every handle is gone; streams that are cut hold theirs a moment longer.
    if tokio::time::timeout(Duration::from_secs(2), owner).await.is_err() {
        tracing::debug!("some handles on the core outlived the stop");
    }
    served
}

fn model_config(rack: roost_types::RackConfig, time_scale: u32) -> Config {
    let mut model = Config { rack, ..Config::default() };
    model.thermal = model.thermal.with_time_scale(time_scale);
    model.fans = model.fans.with_time_scale(time_scale);
    model.alert_times = model.alert_times.with_time_scale(time_scale);
    for pause in [&mut model.move_cooldown, &mut model.move_pause, &mut model.halt_after, &mut model.halt_dwell] {
        *pause /= time_scale.max(1);
    }
    model
}

/// The first commands: say that the controller started, and make every node of the nodes file known.
async fn begin(core: &Core, nodes: impl Iterator<Item = &roost_types::Name>) -> Result<()> {
    core.submit(Command::Started { version: env!("CARGO_PKG_VERSION").to_owned() }).await?;
    for name in nodes {
        core.submit(Command::RegisterNode { name: name.clone() }).await?;
    }
    Ok(())
}

async fn tick(core: Core) {
    let mut clock = tokio::time::interval(TICK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        if let Err(problem) = core.submit(Command::Tick).await {
            tracing::debug!(%problem, "a tick was refused");
        }
    }
}

/// Listens on every address and serves until told to stop.
async fn listen(app: &Arc<App>, addresses: &[SocketAddr], stop: &mut watch::Receiver<bool>) -> Result<()> {
    let router = api::router::router(app);
    let mut servers = JoinSet::new();
    for address in addresses {
        let (address, router, stop) = (*address, router.clone(), stop.clone());
        servers.spawn(async move {
            let listener = server::bind(address, stop.clone()).await;
            let Some(listener) = listener.with_context(|| format!("cannot listen on {address}"))? else {
                return Ok(());
            };
            println!("listening on http://{}", listener.local_addr().unwrap_or(address));
            server::serve(listener, router, stop).await;
            anyhow::Ok(())
        });
    }
    while let Some(ended) = servers.join_next().await {
        ended.context("a listener failed")??;
    }
    Ok(())
}
