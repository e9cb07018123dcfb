//! `image …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use roost_types::Arch;

use super::values::parse_arch;

/// `image import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A root file system tarball, an OCI image layout (directory or tar), a `docker save` archive, `https://…`, or
    /// `docker://[HOST/]NAME[:TAG]`.
    pub source: String,
    /// Alias that will stand for it; made from the source's name when absent.
    pub alias: Option<String>,
    /// For nodes of this kind: armhf, arm64 or amd64.
    #[arg(long, value_parser = parse_arch)]
    pub arch: Option<Arch>,
    /// Which image of an archive with several.
    #[arg(long)]
    pub tag: Option<String>,
    /// SHA-256 of what is at the URL.
    #[arg(long, value_name = "HEX")]
    pub sha256: Option<String>,
    /// One line for people.
    #[arg(long, default_value = "")]
    pub description: String,
    /// Do not wait until it is there.
    #[arg(long)]
    pub no_wait: bool,
}

/// `image …`.
#[derive(Subcommand, Debug)]
pub enum ImageCommand {
    /// List images.
    #[command(visible_alias = "ls")]
    List,
    /// Show an image: where it is, which boards are getting it, and who sent how much of it.
    Info {
        /// Alias or digest.
        image: String,
    },
    /// Build an image from one of Roost's recipes and store it.
    Build {
        /// Recipe.
        name: String,
        /// Leave the root file here instead of storing it.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Make an image of an archive, a directory, a URL or an image in a registry.
    Import(ImportArgs),
    /// Delete an image.
    #[command(visible_alias = "rm")]
    Delete {
        /// Alias or digest.
        image: String,
    },
}
