//! An instance's first boot, from the agent's side: fetches what it is given, and runs its script.
//!
//! What was fetched lies beside the layer, open to the board's root only; the keeper writes it into the container before
//! the first start. A script in an image without cloud-init runs once the image's init does. If the agent dies before the
//! script has ended, it runs again with the instance's next start.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, StatusCode};
use roost_types::AllocationId;
use roost_types::first_boot::MAX_LAUNCH_BODY;

use crate::controller::{Controller, HttpError};
use crate::errors::chain;
use crate::runtime::{ExecPlan, Runtime};

/// How long the controller may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Runs the script if there is one, after systemd has booted where it is the init, and remembers that it ran.
const RUN: &str = r#"
file=/var/lib/roost/user-data
[ -x "$file" ] || exit 0
case "$(readlink -f /sbin/init)" in
*/systemd)
    tries=0
    while [ "$tries" -lt 60 ]; do
        case "$(systemctl is-system-running --wait 2>/dev/null)" in running | degraded | maintenance) break ;; esac
        tries=$((tries + 1))
        sleep 1
    done
    ;;
esac
(umask 077 && : > "$file.log")
"$file" >> "$file.log" 2>&1 < /dev/null
code=$?
mv "$file" "$file.done"
exit "$code"
"#;

/// Why it could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FirstBootError {
    /// No answer.
    #[error("ask for the user data")]
    Http(#[from] HttpError),
    /// The request could not be made.
    #[error("ask for the user data")]
    Request(#[from] hyper::http::Error),
    /// Not 200.
    #[error("the controller has no user data to give (status {0})")]
    Status(StatusCode),
    /// The answer broke off, or is longer than it may be.
    #[error("read the user data")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file for the keeper.
    #[error("keep the user data in {0}")]
    File(String, #[source] io::Error),
}

/// Fetches what an allocation is given into `file`, unless it is there.
///
/// # Errors
/// The step that failed.
pub async fn fetch(controller: &Controller, id: AllocationId, file: &Path) -> Result<(), FirstBootError> {
    if file.exists() {
        return Ok(());
    }
    let mut connection = controller.connect().await?;
    let request = controller.request(Method::GET, &format!("/agent/v1/allocations/{id}/first-boot"));
    let response = connection.send(request.body(Full::new(Bytes::new()))?, TIMEOUT).await?;
    if response.status() != StatusCode::OK {
        return Err(FirstBootError::Status(response.status()));
    }
    let body = tokio::time::timeout(TIMEOUT, Limited::new(response.into_body(), MAX_LAUNCH_BODY).collect()).await;
    let body = body.map_err(|error| FirstBootError::Body(error.into()))?.map_err(FirstBootError::Body)?.to_bytes();
    store(file, &body).map_err(|error| FirstBootError::File(file.display().to_string(), error))
}

fn store(file: &Path, content: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    if let Some(dir) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&new, file)
}

/// Runs the script of a container that has just started, if there is one, until it ends.
pub async fn run<R: Runtime>(runtime: Arc<R>, id: AllocationId) {
    let command = ["/bin/sh", "-c", RUN].map(str::to_owned).to_vec();
    let session = match runtime.exec(id, &ExecPlan { command, ..ExecPlan::default() }).await {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(allocation.id = %id, error = %chain(&error), "the user data could not be run");
            return;
        }
    };
    // Holding its ends keeps it alive.
    match session.exit.await {
        Ok(exit) => tracing::info!(allocation.id = %id, code = exit.code, "the user data has been dealt with"),
        Err(_) => tracing::info!(allocation.id = %id, "the user data ended with the container"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use crate::testing::Scratch;

    #[test]
    fn what_was_fetched_is_open_to_root_only() {
        let scratch = Scratch::new("first-boot-store");
        let file = scratch.path().join("new/first-boot.json");
        super::store(&file, b"{}").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    }
}
