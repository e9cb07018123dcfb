//! `roost image …`.

use std::path::Path;

use reqwest::Method;
use roost_types::image_transfer::ImageDistribution;
use roost_types::{Image, ImageManifest};
use serde::Serialize;

use super::instance::word;
use crate::args::ImageCommand;
use crate::client::{Client, segment};
use crate::error::CliError;
use crate::output::{Columns, Style, or_dash, print};
use crate::progress::Step;
use crate::recipes::{self, Built};
use crate::time;

/// Runs a verb on images. The client is made only when it is needed: building to a file needs no controller.
pub async fn run(
    client: impl Fn() -> Result<Client, CliError>,
    style: Style,
    command: ImageCommand,
) -> Result<(), CliError> {
    match command {
        ImageCommand::List => list(&client()?, style).await,
        ImageCommand::Info { image } => info(&client()?, style, &image).await,
        ImageCommand::Build { name, file: Some(file) } => {
            let built = build(style, &name).await?;
            std::fs::copy(built.rootfs(), &file)
                .map_err(|e| CliError::step(format!("writing {}", file.display()), e))?;
            print(&format!("{}\n", file.display()))
        }
        ImageCommand::Build { name, file: None } => {
            let client = client()?;
            let built = build(style, &name).await?;
            let step = Step::begin(format!("storing {name}"), style.quiet);
            let image = upload(&client, built.manifest(), &built.rootfs()).await;
            step.clear();
            let image = image?;
            show(style, &image)
        }
        ImageCommand::Import(args) => super::image_import::run(&client()?, style, args).await,
        ImageCommand::Delete { image } => {
            client()?.act(Method::DELETE, &format!("/v1/images/{}", segment(&image))).await?;
            print(&format!("{image}\n"))
        }
    }
}

async fn build(style: Style, name: &str) -> Result<Built, CliError> {
    let step = Step::begin(format!("building {name}"), style.quiet);
    let built = recipes::build(name).await;
    step.clear();
    built
}

/// Stores a root file with its manifest.
pub async fn upload(client: &Client, manifest: &ImageManifest, rootfs: &Path) -> Result<Image, CliError> {
    let bytes =
        tokio::fs::read(rootfs).await.map_err(|e| CliError::step(format!("reading {}", rootfs.display()), e))?;
    let init = manifest.init.as_ref().map(|init| format!("&init={}", segment(init))).unwrap_or_default();
    let path = format!(
        "/v1/images?alias={}&arch={}&format={}&description={}{init}",
        segment(&manifest.alias),
        manifest.arch,
        manifest.format.as_str(),
        segment(&manifest.description)
    );
    let request = client.request(Method::POST, &path).header("Content-Type", "application/octet-stream").body(bytes);
    client.json(client.send(request).await?).await
}

async fn list(client: &Client, style: Style) -> Result<(), CliError> {
    let images: Vec<Image> = client.list("/v1/images").await?;
    let now = time::now();
    let row = |image: &Image| {
        vec![
            or_dash((!image.aliases.is_empty()).then(|| image.aliases.join(","))),
            image.digest.hex().chars().take(12).collect(),
            image.arch.to_string(),
            word(&image.format),
            format!("{:.1} MiB", mebibytes(image.size_bytes)),
            time::age(now.since(image.created_at).as_secs()),
            image.description.clone(),
        ]
    };
    let headings = ["ALIAS", "DIGEST", "ARCH", "FORMAT", "SIZE", "AGE", "DESCRIPTION"];
    print(&style.list(&images, &Columns { headings: &headings, row: &row, name: &|image| image.digest.to_string() })?)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// What `image info` shows in JSON and YAML.
#[derive(Serialize)]
struct Info {
    #[serde(flatten)]
    image: Image,
    distribution: ImageDistribution,
}

async fn info(client: &Client, style: Style, image: &str) -> Result<(), CliError> {
    let path = format!("/v1/images/{}", segment(image));
    let (image, distribution): (Image, ImageDistribution) =
        (client.get(&path).await?, client.get(&format!("{path}/distribution")).await?);
    let names = |names: Vec<String>| or_dash((!names.is_empty()).then(|| names.join(", ")));
    let fetching = distribution.fetching.iter().map(|fetch| {
        let source = fetch.source.as_ref().map_or("the controller", |node| node.as_str());
        format!("{} ({:.1} MiB, from {source})", fetch.node, mebibytes(fetch.bytes))
    });
    let mut lines = lines(&image).to_vec();
    lines.extend([
        ("On", names(distribution.nodes.iter().map(ToString::to_string).collect())),
        ("Getting it", names(fetching.collect())),
        ("Sent by the controller", format!("{:.1} MiB", mebibytes(distribution.sent_by_controller))),
        ("Sent by boards", format!("{:.1} MiB", mebibytes(distribution.sent_by_nodes))),
    ]);
    let digest = image.digest.clone();
    print(&style.one(&Info { image, distribution }, digest.as_str(), &lines)?)
}

/// Prints one image.
pub fn show(style: Style, image: &Image) -> Result<(), CliError> {
    print(&style.one(image, image.digest.as_str(), &lines(image))?)
}

fn lines(image: &Image) -> [(&'static str, String); 9] {
    [
        ("Alias", image.aliases.join(",")),
        ("Digest", image.digest.to_string()),
        ("Size", format!("{:.1} MiB", mebibytes(image.size_bytes))),
        ("Format", word(&image.format)),
        ("Arch", image.arch.to_string()),
        ("Init", or_dash(image.init.as_ref())),
        ("Command", or_dash((!image.startup.command.is_empty()).then(|| image.startup.command.join(" ")))),
        ("User", or_dash(Some(&image.startup.user).filter(|user| !user.is_empty()))),
        ("Directory", or_dash(Some(&image.startup.workdir).filter(|path| !path.is_empty()))),
    ]
}
