//! `roost image …`.

use std::path::Path;

use reqwest::Method;
use roost_types::{Image, ImageManifest};

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

/// Prints one image.
pub fn show(style: Style, image: &Image) -> Result<(), CliError> {
    let lines = [
        ("Alias", image.aliases.join(",")),
        ("Digest", image.digest.to_string()),
        ("Size", format!("{:.1} MiB", mebibytes(image.size_bytes))),
        ("Format", word(&image.format)),
        ("Arch", image.arch.to_string()),
        ("Init", or_dash(image.init.as_ref())),
        ("Command", or_dash((!image.startup.command.is_empty()).then(|| image.startup.command.join(" ")))),
        ("User", or_dash(Some(&image.startup.user).filter(|user| !user.is_empty()))),
        ("Directory", or_dash(Some(&image.startup.workdir).filter(|path| !path.is_empty()))),
    ];
    print(&style.one(image, image.digest.as_str(), &lines)?)
}
