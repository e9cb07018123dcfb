//! An archive from a web server, with the digest that its user promises.

use roost_types::image::MAX_IMAGE_BYTES;
use roost_types::{ImageDigest, Problem};
use sha2::{Digest, Sha256};
use url::Url;

use super::resume::{Ask, Body};
use super::{Answer, Fetch, FetchError, Fetcher, Rest};
use crate::images::job::JobDir;
use crate::images::upload::too_large;

/// Redirects that one download follows, on the same host only.
const MAX_REDIRECTS: usize = 5;

/// Downloads the archive into the job's directory.
///
/// # Errors
/// Why the source may not be asked, did not answer, or sent something else.
pub async fn download(
    fetcher: &Fetcher,
    url: &Url,
    sha256: &ImageDigest,
    dir: &JobDir,
    progress: impl FnMut(u64, u64),
) -> Result<(), Problem> {
    receive(fetcher, url, sha256, dir, progress).await.map_err(|error| error.problem("url"))
}

async fn receive(
    fetcher: &Fetcher,
    url: &Url,
    sha256: &ImageDigest,
    dir: &JobDir,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), FetchError> {
    let mut body = Body::begin(Page { fetcher, url }).await?;
    let total = body.length().unwrap_or(0);
    if total > MAX_IMAGE_BYTES {
        return Err(too_large().into());
    }
    let (mut archive, mut hash) = (dir.archive().await?, Sha256::new());
    while let Some(chunk) = body.chunk().await? {
        hash.update(&chunk);
        archive.write(&chunk).await?;
        progress(archive.written(), total.max(archive.written()));
    }
    archive.finish().await?;
    let found = ImageDigest::from_sha256(&hash.finalize().into());
    if found != *sha256 {
        return Err(FetchError::Wrong(format!("{url} has the digest {found}, not {sha256}: nothing of it was used")));
    }
    Ok(())
}

/// What a URL stands for.
struct Page<'a> {
    fetcher: &'a Fetcher,
    url: &'a Url,
}

impl Ask for Page<'_> {
    async fn ask(&mut self, rest: Option<Rest<'_>>) -> Result<Answer, FetchError> {
        let mut at = self.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.fetcher.get(&at, Fetch { rest, ..Fetch::default() }).await?;
            let Some(next) = answer.redirect(&at) else { return Ok(answer) };
            if next.origin() != at.origin() {
                let host = next.host_str().unwrap_or_default();
                return Err(FetchError::Refused(format!("{at} leads to another host ({host}): name that URL itself")));
            }
            at = next;
        }
        Err(FetchError::Failed(format!("{} leads from one place to the next without end", self.url)))
    }
}
