//! `roost image import SOURCE [ALIAS]`: what is here is sent to the controller, what is elsewhere it fetches itself.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method};
use roost_agent::trees::Pieces;
use roost_types::image::{ImportImage, check_alias};
use roost_types::{Image, Operation};
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use super::finish;
use super::image::show;
use crate::args::ImportArgs;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Style, print};
use crate::progress::Transfer;

/// Bytes sent at a time.
const CHUNK: usize = 256 << 10;
/// The size of a piece of a directory's archive.
const PIECE: usize = 64 << 10;
/// Pieces of a directory that wait for the network.
const QUEUE: usize = 4;
/// Endings of archives' names, longest first.
const ENDINGS: [&str; 11] =
    [".tar.gz", ".tar.xz", ".tar.zst", ".tgz", ".txz", ".tzst", ".tar", ".oci", ".gz", ".xz", ".zst"];

/// Imports an image and shows it.
pub async fn run(client: &Client, style: Style, args: ImportArgs) -> Result<(), CliError> {
    let alias = match &args.alias {
        Some(alias) => alias.clone(),
        None => alias_of(&args.source),
    };
    check_alias(&alias).map_err(|why| CliError::Usage(format!("'{alias}': {why}; give one after the source")))?;
    let operation: Operation = match Source::of(&args)? {
        Source::Elsewhere(mut wanted) => {
            wanted.alias.clone_from(&alias);
            let request = client.request(Method::POST, "/v1/images").json(&*wanted);
            client.json(client.send(request).await?).await?
        }
        Source::Here => upload(client, style, &args, &alias).await?,
    };
    if args.no_wait {
        return print(&format!("{}\n", operation.id));
    }
    let begun = operation.created_at;
    finish(client, style, operation, &format!("importing {alias}")).await?;
    let images: Vec<Image> = client.list("/v1/images").await?;
    let named = images.iter().filter(|image| image.aliases.contains(&alias));
    let fitting = named.filter(|image| args.arch.is_none_or(|arch| image.arch == arch));
    // The same bytes may have been there before: then nothing is newer than the import.
    let newest = fitting.max_by_key(|image| (image.created_at >= begun, image.created_at));
    newest.map_or_else(|| print(&format!("{alias}\n")), |image| show(style, image))
}

enum Source {
    /// A file or directory.
    Here,
    /// A URL or a registry.
    Elsewhere(Box<ImportImage>),
}

impl Source {
    fn of(args: &ImportArgs) -> Result<Self, CliError> {
        let mut wanted = ImportImage {
            alias: String::new(),
            url: None,
            sha256: None,
            registry: None,
            arch: args.arch,
            tag: args.tag.clone(),
            description: args.description.clone(),
        };
        if let Some(reference) = args.source.strip_prefix("docker://") {
            wanted.registry = Some(reference.to_owned());
        } else if args.source.starts_with("https://") || args.source.starts_with("http://") {
            let missing = || {
                CliError::Usage(
                    "give --sha256 with a URL: what its publisher says, or what `sha256sum` says of a copy you trust"
                        .to_owned(),
                )
            };
            wanted.sha256 = Some(args.sha256.clone().ok_or_else(missing)?);
            wanted.url = Some(args.source.clone());
        } else {
            return if args.sha256.is_none() {
                Ok(Self::Here)
            } else {
                Err(CliError::Usage("--sha256 is for URLs".to_owned()))
            };
        }
        Ok(Self::Elsewhere(Box::new(wanted)))
    }
}

async fn upload(client: &Client, style: Style, args: &ImportArgs, alias: &str) -> Result<Operation, CliError> {
    let path = Path::new(&args.source);
    let failed = |error: io::Error| CliError::step(format!("reading {}", path.display()), error);
    let meta = tokio::fs::metadata(path).await.map_err(failed)?;
    let mut query = format!("/v1/images?from=auto&alias={}&description={}", segment(alias), segment(&args.description));
    if let Some(arch) = args.arch {
        query.push_str(&format!("&arch={arch}"));
    }
    if let Some(tag) = &args.tag {
        query.push_str(&format!("&tag={}", segment(tag)));
    }
    let mut request = client.request(Method::POST, &query).header("Content-Type", "application/octet-stream");
    let length = meta.is_file().then_some(meta.len());
    let transfer = Transfer::of(&format!("sending {}", path.display()), length, style.quiet);
    request = match length {
        Some(length) => {
            let file = File::open(path).await.map_err(failed)?;
            request.header("Content-Length", length).body(file_body(file, transfer.clone()))
        }
        None => request.body(directory_body(path, transfer.clone())),
    };
    let answer = client.send(request).await;
    transfer.end();
    client.json(answer?).await
}

fn file_body(file: File, transfer: Transfer) -> Body {
    Body::wrap_stream(stream::try_unfold((file, transfer), |(mut file, transfer)| async move {
        let mut chunk = vec![0; CHUNK];
        let count = file.read(&mut chunk).await?;
        chunk.truncate(count);
        transfer.add(count);
        io::Result::Ok((count > 0).then(|| (Bytes::from(chunk), (file, transfer))))
    }))
}

/// A directory as a tar archive, made while it is sent.
fn directory_body(path: &Path, transfer: Transfer) -> Body {
    let (send, receive) = mpsc::channel::<io::Result<Vec<u8>>>(QUEUE);
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces::new(PIECE, |piece| send.blocking_send(Ok(piece)).is_ok());
        if let Err(error) = pack(&path, pieces) {
            // If nobody listens any more, the upload has failed for another reason.
            let _ = send.blocking_send(Err(error));
        }
    });
    Body::wrap_stream(stream::unfold((receive, transfer), |(mut receive, transfer)| async move {
        let chunk = receive.recv().await?;
        transfer.add(chunk.as_ref().map_or(0, Vec::len));
        Some((chunk, (receive, transfer)))
    }))
}

fn pack(path: &Path, to: impl Write) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    tar.follow_symlinks(false);
    tar.append_dir_all(".", path)?;
    tar.into_inner()?.flush()
}

/// An alias from the last word of a path, URL or reference.
fn alias_of(source: &str) -> String {
    let source = source.strip_prefix("docker://").map_or(source, |reference| {
        let reference = reference.split('@').next().unwrap_or_default();
        let last = reference.rsplit('/').next().unwrap_or_default();
        last.split(':').next().unwrap_or_default()
    });
    let plain = source.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    let word = plain.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    let stem = ENDINGS.iter().find_map(|ending| word.strip_suffix(ending)).unwrap_or(&word);
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-');
    let alias: String = stem.chars().map(|c| if allowed(c) { c } else { '-' }).take(63).collect();
    alias.trim_start_matches(['.', '_', '-']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_comes_from_the_source() {
        for (source, alias) in [
            ("alpine-minirootfs-3.20.tar.gz", "alpine-minirootfs-3.20"),
            ("/srv/My Image.tar", "my-image"),
            ("./layout/", "layout"),
            ("https://example.org/a/rootfs.tar.xz?download=1", "rootfs"),
            ("docker://alpine:3.20", "alpine"),
            ("docker://ghcr.io/org/app@sha256:00", "app"),
            ("docker://10.0.0.5:5000/app", "app"),
            (".hidden.tar", "hidden"),
        ] {
            assert_eq!(alias_of(source), alias, "{source}");
            assert!(check_alias(alias).is_ok());
        }
        assert!(check_alias(&alias_of("..")).is_err());
    }

    #[test]
    fn a_url_needs_its_digest() {
        let args = |source: &str, sha256: Option<&str>| ImportArgs {
            source: source.to_owned(),
            alias: None,
            arch: None,
            tag: None,
            sha256: sha256.map(str::to_owned),
            description: String::new(),
            no_wait: false,
        };
        assert!(Source::of(&args("https://x.example/a.tar", None)).is_err());
        assert!(Source::of(&args("a.tar", Some("00"))).is_err());
        let Ok(Source::Elsewhere(wanted)) = Source::of(&args("docker://alpine:3", None)) else { panic!() };
        assert_eq!((wanted.registry.as_deref(), wanted.url), (Some("alpine:3"), None));
        let Ok(Source::Elsewhere(wanted)) = Source::of(&args("https://x.example/a.tar", Some("00"))) else { panic!() };
        assert_eq!(wanted.url.as_deref(), Some("https://x.example/a.tar"));
    }
}
