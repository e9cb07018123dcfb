//! An image from a registry (OCI distribution): its manifest, configuration and layers, written down as an image layout
//! that the unpacking process checks and reads like any other.
//!
//! Only what everyone may pull is pulled. A registry may send a blob's reader elsewhere; each place is checked anew, is not
//! told the token, and cannot send anything but the blob: its digest is known.

use std::str::FromStr;

use roost_image_import::Choice;
use roost_image_import::oci::schema::{Descriptor, Digest, Index, Manifest};
use roost_image_import::oci::{Candidate, choose};
use roost_types::image::MAX_IMAGE_BYTES;
use roost_types::{Arch, ImageDigest, Problem};
use serde::Deserialize;
use sha2::Digest as _;
use url::Url;

use super::layout::Layout;
use super::resume::{Ask, Body};
use super::{Answer, Fetch, FetchError, Fetcher, Rest};
use crate::images::job::JobDir;
use crate::images::upload::too_large;

/// Bytes of a manifest or token, as registries have it.
const MAX_DOCUMENT: usize = 4 << 20;
/// Places that a blob may be found at in turn.
const MAX_REDIRECTS: usize = 5;
/// Layers of an image.
const MAX_LAYERS: usize = 128;
/// What is understood.
const MANIFESTS: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// An image in a registry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reference {
    /// `host[:port]`.
    host: String,
    repository: String,
    /// A tag or a digest.
    version: String,
}

impl FromStr for Reference {
    type Err = String;

    /// `[host[:port]/]name[:tag]` or `…@sha256:…`. Without a host it is Docker's hub, as everywhere.
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        let (host, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => ("registry-1.docker.io", name.to_owned()),
            None => ("registry-1.docker.io", format!("library/{name}")),
        };
        let host = if host == "docker.io" { "registry-1.docker.io" } else { host };
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository.to_owned(), tag.to_owned()),
            None => (path, "latest".to_owned()),
        };
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-/".contains(&byte);
        if repository.is_empty()
            || repository.len() > 255
            || !repository.bytes().all(word)
            || repository.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(format!("'{repository}' is not a repository's name: a-z, 0-9, '.', '_', '-' and '/'"));
        }
        let tag_word = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if tag.is_empty() || tag.len() > 128 || !tag.bytes().all(tag_word) {
            return Err(format!("'{tag}' is not a tag: letters, digits, '.', '_' and '-'"));
        }
        if let Some(digest) = digest {
            digest.parse::<ImageDigest>()?;
        }
        let version = digest.map_or(tag, str::to_owned);
        let reference = Self { host: host.to_owned(), repository, version };
        reference.url("https", "").map_err(|_| format!("'{host}' is not a host"))?;
        Ok(reference)
    }
}

impl Reference {
    fn url(&self, scheme: &str, rest: &str) -> Result<Url, FetchError> {
        let text = format!("{scheme}://{}/v2/{rest}", self.host);
        Url::parse(&text).map_err(|error| FetchError::Refused(format!("'{}' is not a host: {error}", self.host)))
    }
}

/// Downloads the image into the job's directory.
///
/// # Errors
/// Why the registry may not be asked, did not answer, or sent something else.
pub async fn download(
    fetcher: &Fetcher,
    reference: &Reference,
    arch: Option<Arch>,
    dir: &JobDir,
    progress: impl FnMut(u64, u64),
) -> Result<(), Problem> {
    pull(fetcher, reference, arch, dir, progress).await.map_err(|error| error.problem("registry"))
}

async fn pull(
    fetcher: &Fetcher,
    reference: &Reference,
    arch: Option<Arch>,
    dir: &JobDir,
    mut progress: impl FnMut(u64, u64),
) -> Result<(), FetchError> {
    let session = Session::open(fetcher, reference).await?;
    let (descriptor, document, manifest) = session.manifest(arch).await?;
    let parts: Vec<&Descriptor> = std::iter::once(&manifest.config).chain(&manifest.layers).collect();
    let total: u64 = parts.iter().fold(0, |sum, part| sum.saturating_add(part.size));
    if manifest.layers.len() > MAX_LAYERS || total > MAX_IMAGE_BYTES {
        return Err(too_large().into());
    }
    let mut layout = Layout::new(dir.archive().await?).await?;
    layout.put(&descriptor.digest.blob_path(), &document).await?;
    let mut done: Vec<&Digest> = Vec::new();
    for part in parts {
        // Two layers may be the same.
        if done.contains(&&part.digest) {
            continue;
        }
        done.push(&part.digest);
        layout.begin(&part.digest.blob_path(), part.size).await?;
        let blob = Blob { session: &session, digest: &part.digest, token: session.token.clone() };
        let mut body = Body::begin(blob).await?;
        while let Some(chunk) = body.chunk().await? {
            layout.write(&chunk).await?;
            progress(layout.written().min(total), total);
        }
        layout.end().await?;
    }
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"mediaType": descriptor.media_type, "digest": descriptor.digest.to_string(), "size": descriptor.size}
    ]});
    layout.put("index.json", index.to_string().as_bytes()).await?;
    layout.finish().await?;
    Ok(())
}

/// A conversation with a registry about one image.
struct Session<'a> {
    fetcher: &'a Fetcher,
    reference: &'a Reference,
    scheme: &'static str,
    token: Option<String>,
}

impl<'a> Session<'a> {
    /// By https; where that fails and the operator allows the registry's network, by http.
    async fn open(fetcher: &'a Fetcher, reference: &'a Reference) -> Result<Self, FetchError> {
        let mut session = Self { fetcher, reference, scheme: "https", token: None };
        let first = fetcher.get(&reference.url("https", "")?, Fetch::default()).await;
        let answer = match first {
            Err(FetchError::Failed(why)) => {
                session.scheme = "http";
                let second = fetcher.get(&reference.url("http", "")?, Fetch::default()).await;
                second.map_err(|error| match error {
                    FetchError::Refused(_) => FetchError::Failed(why),
                    other => other,
                })?
            }
            other => other?,
        };
        if answer.status() == 401 {
            session.token = session.sign_in(&answer).await?;
        }
        Ok(session)
    }

    /// A token for everyone, from where the registry says.
    async fn sign_in(&self, answer: &Answer) -> Result<Option<String>, FetchError> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(alias = "access_token")]
            token: String,
        }
        let challenge = answer.header("www-authenticate").and_then(|value| value.strip_prefix("Bearer "));
        let Some(challenge) = challenge else { return Ok(None) };
        let value = |key: &str| {
            let start = challenge.find(&format!("{key}=\""))? + key.len() + 2;
            challenge[start..].split('"').next()
        };
        let realm = value("realm").and_then(|realm| Url::parse(realm).ok());
        let mut url = realm.ok_or_else(|| FetchError::Failed("the registry asks for a token it cannot name".into()))?;
        url.query_pairs_mut()
            .extend_pairs(value("service").map(|service| ("service", service)))
            .append_pair("scope", &format!("repository:{}:pull", self.reference.repository));
        let bytes = self.fetcher.get(&url, Fetch::default()).await?.well()?.bytes(MAX_DOCUMENT).await?;
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|error| FetchError::Failed(format!("the registry's token cannot be read: {error}")))?;
        Ok(Some(token.token))
    }

    /// The manifest for the wanted nodes, through an index where there is one.
    async fn manifest(&self, arch: Option<Arch>) -> Result<(Descriptor, Vec<u8>, Manifest), FetchError> {
        let (mut descriptor, mut document) = self.document(&self.reference.version).await?;
        if descriptor.media_type.contains("index") || descriptor.media_type.contains("manifest.list") {
            let index: Index = parse(&document)?;
            let candidates = index.manifests.into_iter().filter_map(|manifest| {
                let platform = manifest.platform.clone()?;
                Some(Candidate { manifest, platform, tag: None })
            });
            let candidates: Vec<Candidate> = candidates.collect();
            let (chosen, _) = choose(&candidates, &Choice { arch, tag: None })
                .map_err(|error| FetchError::Wrong(error.to_string()))?;
            (descriptor, document) = self.document(&chosen.manifest.digest.to_string()).await?;
        }
        let manifest = parse(&document)?;
        Ok((descriptor, document, manifest))
    }

    /// A manifest or index. One that is named by its digest must have it.
    async fn document(&self, version: &str) -> Result<(Descriptor, Vec<u8>), FetchError> {
        let url = self.reference.url(self.scheme, &format!("{}/manifests/{version}", self.reference.repository))?;
        let fetch = Fetch { accept: Some(MANIFESTS), token: self.token.as_deref(), rest: None };
        let answer = self.fetcher.get(&url, fetch).await?.well()?;
        let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let media_type = media_type.trim().to_owned();
        let bytes = answer.bytes(MAX_DOCUMENT).await?;
        let found = ImageDigest::from_sha256(&sha2::Sha256::digest(&bytes).into());
        if version.starts_with("sha256:") && found.as_str() != version {
            return Err(FetchError::Wrong(format!("the registry sent {found} for {version}")));
        }
        let digest = Digest::parse(found.as_str()).map_err(FetchError::Failed)?;
        let size = bytes.len() as u64;
        Ok((Descriptor { media_type, digest, size, platform: None, annotations: Default::default() }, bytes))
    }
}

/// A blob, wherever the registry keeps it.
struct Blob<'a> {
    session: &'a Session<'a>,
    digest: &'a Digest,
    token: Option<String>,
}

impl Ask for Blob<'_> {
    async fn ask(&mut self, rest: Option<Rest<'_>>) -> Result<Answer, FetchError> {
        let answer = self.find(rest).await?;
        if answer.status() != 401 || rest.is_none() {
            return Ok(answer);
        }
        // A token is good for minutes; a layer may take longer.
        let Session { fetcher, reference, scheme, .. } = self.session;
        let door = fetcher.get(&reference.url(scheme, "")?, Fetch::default()).await?;
        self.token = self.session.sign_in(&door).await?;
        self.find(rest).await
    }
}

impl Blob<'_> {
    async fn find(&self, rest: Option<Rest<'_>>) -> Result<Answer, FetchError> {
        let Session { fetcher, reference, scheme, .. } = self.session;
        let first = reference.url(scheme, &format!("{}/blobs/{}", reference.repository, self.digest))?;
        let mut at = first.clone();
        for _ in 0..=MAX_REDIRECTS {
            let token = self.token.as_deref().filter(|_| at.origin() == first.origin());
            let answer = fetcher.get(&at, Fetch { accept: None, token, rest }).await?;
            match answer.redirect(&at) {
                Some(next) => at = next,
                None => return Ok(answer),
            }
        }
        Err(FetchError::Failed(format!("{first} leads from one place to the next without end")))
    }
}

fn parse<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, FetchError> {
    serde_json::from_slice(bytes)
        .map_err(|error| FetchError::Wrong(format!("the registry's manifest is wrong: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_everywhere_else() {
        for (text, host, repository, version) in [
            ("alpine", "registry-1.docker.io", "library/alpine", "latest"),
            ("alpine:3.20", "registry-1.docker.io", "library/alpine", "3.20"),
            ("grafana/grafana", "registry-1.docker.io", "grafana/grafana", "latest"),
            ("docker.io/library/debian:12", "registry-1.docker.io", "library/debian", "12"),
            ("ghcr.io/a/b/c:x", "ghcr.io", "a/b/c", "x"),
            ("localhost/app", "localhost", "app", "latest"),
            ("10.0.0.5:5000/app:1", "10.0.0.5:5000", "app", "1"),
            ("[fd12::1]:5000/app", "[fd12::1]:5000", "app", "latest"),
        ] {
            let wanted = Reference { host: host.into(), repository: repository.into(), version: version.into() };
            assert_eq!(text.parse(), Ok(wanted), "{text}");
        }
        let digest = format!("sha256:{}", "a".repeat(64));
        let pinned: Reference = format!("ghcr.io/a/b@{digest}").parse().unwrap();
        assert_eq!(pinned.version, digest);
    }

    #[test]
    fn what_is_no_reference_is_refused() {
        for text in [
            "",
            ":",
            "a:",
            "UPPER",
            "a b",
            "a/../b",
            "a//b",
            "host.io/",
            "host.io/a:b c",
            "a@sha256:12",
            "a@md5:00",
            "user@host.io/a",
            "host.io:x/a",
            "a.b/c?x=y",
            "a.b/c#d",
            "-_~/x",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }
}
