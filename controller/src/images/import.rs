//! Importing an image: fetch, convert, store, with an operation that tells how far it is.
//!
//! ```text
//!  upload ───────────────┐
//!  URL ──────── fetch ───┼─▶ staging/RANDOM/archive ─ child ─▶ …/root ─ digest, magic ─▶ images/DIGEST
//!  registry ─── fetch ───┘
//! ```
//!
//! Cancelled, failed or stopped, an import leaves nothing: its directory goes with it, or at the next start.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use roost_image_import::child::Job;
use roost_image_import::{Report, Stage};
use roost_model::{Command, Reply};
use roost_types::image::{ArchiveKind, RootfsFormat};
use roost_types::operation::Progress;
use roost_types::{Arch, Code, Image, ImageDigest, OperationId, Problem};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::fetch::registry::Reference;
use super::fetch::{Fetcher, registry, web};
use super::job::JobDir;
use super::{unpack, upload};
use crate::core::Core;
use crate::state::App;

/// Imports at once, those that wait for their turn to unpack included: each may hold 16 GiB of disk.
const MAX_IMPORTS: usize = 4;
/// Pause between two stored words on progress: each is a write to the database.
const PROGRESS_PAUSE: Duration = Duration::from_secs(1);

/// What imports share.
pub struct Importer {
    /// Words between the program's name and `unpack`.
    words: Vec<String>,
    fetcher: Fetcher,
    imports: Arc<Semaphore>,
    /// One at a time: it takes up to 512 MiB and a core.
    unpacking: Semaphore,
}

/// Where an image comes from.
pub enum Source {
    /// The archive is in the job's directory.
    Uploaded,
    /// An archive on a web server with this SHA-256.
    Web {
        /// Where.
        url: url::Url,
        /// What it must be.
        sha256: ImageDigest,
    },
    /// An image in a registry.
    Registry(Reference),
}

/// What is wanted of it.
pub struct Wish {
    /// The alias that will stand for it.
    pub alias: String,
    /// What the archive is.
    pub kind: ArchiveKind,
    /// For which nodes.
    pub arch: Option<Arch>,
    /// Which of several images.
    pub tag: Option<String>,
    /// One line for people.
    pub description: String,
}

/// A place among the imports and a directory of its own.
pub struct Place {
    dir: JobDir,
    _permit: OwnedSemaphorePermit,
}

impl Importer {
    /// Importing by this program, reached by `words`, with what may be fetched.
    pub fn new(words: Vec<String>, fetcher: Fetcher) -> Self {
        Self { words, fetcher, imports: Arc::new(Semaphore::new(MAX_IMPORTS)), unpacking: Semaphore::new(1) }
    }

    /// Takes a place among the imports.
    ///
    /// # Errors
    /// `rate_limited` when there are too many.
    pub fn place(&self, staging: &Path) -> Result<Place, Problem> {
        let permit = Arc::clone(&self.imports).try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_IMPORTS} imports are going on: try again when one has ended");
            Problem::new(Code::RateLimited, detail)
        })?;
        Ok(Place { dir: JobDir::new(staging)?, _permit: permit })
    }
}

impl Place {
    /// Takes an upload in.
    pub async fn store(&self, body: Body) -> Result<(), Problem> {
        self.dir.store(body).await
    }
}

/// Opens the operation and begins.
///
/// # Errors
/// When the operation cannot be stored.
pub async fn begin(app: &Arc<App>, source: Source, wish: Wish, place: Place) -> Result<OperationId, Problem> {
    let answer = app.core.submit(Command::BeginImport { alias: wish.alias.clone() }).await?;
    let Reply::Operation(id) = answer.reply else {
        return Err(Problem::new(Code::Internal, "the import was not given an operation"));
    };
    tokio::spawn(run(Arc::clone(app), id, source, wish, place));
    Ok(id)
}

async fn run(app: Arc<App>, id: OperationId, source: Source, wish: Wish, place: Place) {
    let (told, progress) = watch::channel(Progress { done: 0, total: 1, unit: "steps".to_owned() });
    let outcome = tokio::select! {
        outcome = make(&app, &source, &wish, &place.dir, &told) => outcome,
        () = tell(&app.core, id, progress) => return,
        () = ended(&app.core, id) => return,
    };
    let stored = match outcome {
        Ok((image, made)) => store(&app, id, image, made, place).await,
        Err(problem) => {
            // Whoever hears of the end finds nothing left.
            drop(place);
            app.core.submit(Command::FinishImport { operation: id, outcome: Err(problem) }).await.map(drop)
        }
    };
    if let Err(problem) = stored {
        tracing::info!(%problem, operation = %id, "an import ended without its image");
    }
}

/// Stores the newest progress, at most once a second. Ends when the core is gone.
async fn tell(core: &Core, id: OperationId, mut progress: watch::Receiver<Progress>) {
    while progress.changed().await.is_ok() {
        let progress = progress.borrow_and_update().clone();
        if core.submit(Command::ImportProgress { operation: id, progress }).await.is_err() {
            return;
        }
        tokio::time::sleep(PROGRESS_PAUSE).await;
    }
    std::future::pending().await
}

/// Ends when the operation has, which before its import means: it was cancelled.
async fn ended(core: &Core, id: OperationId) {
    let listener = core.listen_operation(id);
    loop {
        let news = listener.notified();
        if core.snapshot().operation(id).is_none_or(|operation| operation.status.is_final()) {
            return;
        }
        news.await;
    }
}

/// Fetches and converts.
async fn make(
    app: &App,
    source: &Source,
    wish: &Wish,
    dir: &JobDir,
    told: &watch::Sender<Progress>,
) -> Result<(Image, upload::Staged), Problem> {
    let importer = &app.importer;
    let bytes = |done, total| {
        told.send_replace(Progress { done, total, unit: "bytes".to_owned() });
    };
    let kind = match source {
        Source::Uploaded => wish.kind,
        Source::Web { url, sha256 } => {
            web::download(&importer.fetcher, url, sha256, dir, bytes).await?;
            wish.kind
        }
        Source::Registry(reference) => {
            registry::download(&importer.fetcher, reference, wish.arch, dir, bytes).await?;
            ArchiveKind::Oci
        }
    };
    let turn = importer.unpacking.acquire().await;
    let job = Job { dir: dir.path().to_owned(), kind, arch: wish.arch, tag: wish.tag.clone() };
    let report = unpack::run(&importer.words, &job, |stage, done, total| {
        let unit = match stage {
            Stage::Unpack => "layers",
            Stage::Write => "bytes",
        };
        told.send_replace(Progress { done, total, unit: unit.to_owned() });
    })
    .await?;
    drop(turn);
    let made = upload::Staged::adopt(dir.output(), RootfsFormat::Erofs).await?;
    if made.size != report.size {
        return Err(Problem::new(Code::Internal, "the root file is not as long as the unpacking process said"));
    }
    Ok((image(wish, report, &made), made))
}

fn image(wish: &Wish, report: Report, made: &upload::Staged) -> Image {
    tracing::info!(
        image = %made.digest,
        alias = wish.alias,
        entries = report.entries,
        unpacked_bytes = report.unpacked,
        dropped = ?report.dropped,
        init = ?report.init_kind,
        "an archive was converted"
    );
    Image {
        digest: made.digest.clone(),
        aliases: vec![wish.alias.clone()],
        arch: report.arch,
        format: RootfsFormat::Erofs,
        size_bytes: made.size,
        init: report.init,
        startup: report.startup,
        description: wish.description.clone(),
        created_at: crate::clock::now(),
    }
}

/// Gives the file its name and tells the model; if that refuses, the file goes again.
async fn store(app: &App, id: OperationId, image: Image, made: upload::Staged, place: Place) -> Result<(), Problem> {
    let digest = image.digest.clone();
    let _changing = app.images.change().await;
    let known = app.core.snapshot().image(&digest).is_some();
    let kept = if known { Ok(()) } else { app.images.keep(&made).await };
    drop((made, place));
    if let Err(problem) = kept {
        app.core.submit(Command::FinishImport { operation: id, outcome: Err(problem.clone()) }).await?;
        return Err(problem);
    }
    let told = app.core.submit(Command::FinishImport { operation: id, outcome: Ok(Box::new(image)) }).await;
    if told.is_err()
        && !known
        && let Err(error) = app.images.remove(&digest).await
    {
        tracing::warn!(%error, image = %digest, "the file of a refused image could not be removed");
    }
    told.map(drop)
}
