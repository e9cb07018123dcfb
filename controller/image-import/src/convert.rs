//! From an archive to a root file: the steps in order.

use std::fs::File;
use std::rc::Rc;

use roost_types::Arch;
use roost_types::image::{ArchiveKind, Startup};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::compression::Scratch;
use crate::erofs;
use crate::error::ImportError;
use crate::inside::{self, InitKind};
use crate::layer::{self, Dropped, Whiteouts};
use crate::limits::Limits;
use crate::members::Members;
use crate::oci::{self, Choice, Layered};
use crate::region::Region;
use crate::startup;
use crate::tree::Tree;

/// What an import found and made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// What the archive was; never `auto`.
    pub kind: ArchiveKind,
    /// Instruction set.
    pub arch: Arch,
    /// Path of the image's own init, where an instance without a command should boot it.
    pub init: Option<String>,
    /// What that init is.
    pub init_kind: Option<InitKind>,
    /// How the image wants to be started.
    pub startup: Startup,
    /// Size of the root file in bytes.
    pub size: u64,
    /// Entries read.
    pub entries: u64,
    /// Bytes unpacked.
    pub unpacked: u64,
    /// What was left out.
    pub dropped: Dropped,
}

/// How far an import is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Layers are decompressed; counted in layers.
    Unpack,
    /// The root file is written; counted in bytes.
    Write,
}

/// The files of one import.
#[derive(Debug)]
pub struct Files {
    /// What is imported.
    pub archive: File,
    /// Its size in bytes.
    pub archive_bytes: u64,
    /// Empty; for what is decompressed.
    pub scratch: File,
    /// Empty; will be the root file.
    pub output: File,
}

/// Converts an archive to a root file.
///
/// # Errors
/// When the archive is wrong, hostile or too large, or a file cannot be written. The output is then worthless.
pub fn convert(
    files: Files,
    kind: ArchiveKind,
    choice: &Choice,
    limits: Limits,
    mut progress: impl FnMut(Stage, u64, u64),
) -> Result<Report, ImportError> {
    let image_bytes = limits.image_bytes;
    let mut budget = Budget::new(limits);
    let mut scratch = Scratch::new(files.scratch);
    let archive = Region::new(Rc::new(files.archive), 0, files.archive_bytes);
    let (plain, _) = scratch.plain(&archive, &mut budget)?;
    let kind = recognise(&plain, kind)?;
    let mut tree = Tree::new(budget.limits().depth);
    let mut dropped = Dropped::default();
    let (startup, arch) = match kind {
        ArchiveKind::Auto | ArchiveKind::Tar => {
            layer::apply(&mut tree, plain, Whiteouts::Refuse, &mut budget, &mut dropped)?;
            unwrap_rootfs(&mut tree)?;
            (Startup::default(), rootfs_arch(&tree, choice.arch)?)
        }
        ArchiveKind::Oci | ArchiveKind::Docker => {
            let bundle = Bundle::open(plain, &mut budget)?;
            let image = match kind {
                ArchiveKind::Docker => oci::from_docker(&bundle, choice)?,
                ArchiveKind::Oci | ArchiveKind::Auto | ArchiveKind::Tar => oci::from_layout(&bundle, choice)?,
            };
            stack(&image, &mut tree, &mut scratch, &mut budget, &mut dropped, &mut progress)?;
            (startup::from_config(image.runtime)?, image.arch)
        }
    };
    if tree.children(tree.root()).is_none_or(std::collections::BTreeMap::is_empty) {
        return Err(ImportError::archive("it holds no files"));
    }
    let size = erofs::write(&tree, identity(arch, &startup)?, &files.output, image_bytes, |done, all| {
        progress(Stage::Write, done, all)
    })?;
    files.output.sync_all().map_err(ImportError::io("sync the root file"))?;
    let (init, init_kind) = own_init(&tree, &startup).unzip();
    let init = init.map(str::to_owned);
    Ok(Report {
        kind,
        arch,
        init,
        init_kind,
        startup,
        size,
        entries: budget.entries(),
        unpacked: budget.unpacked(),
        dropped,
    })
}

/// Two images that differ only in what they say of themselves are two: their root files have different ids, and so digests.
fn identity(arch: Arch, startup: &Startup) -> Result<[u8; 16], ImportError> {
    let said = serde_json::to_vec(&(arch, startup)).map_err(|error| ImportError::archive(error.to_string()))?;
    let mut identity = [0; 16];
    identity.copy_from_slice(&Sha256::digest(&said)[..16]);
    Ok(identity)
}

/// An image with a command is started by it, unless the command is the init itself.
fn own_init(tree: &Tree, startup: &Startup) -> Option<(&'static str, InitKind)> {
    let found = inside::init(tree)?;
    match startup.command.as_slice() {
        [] => Some(found),
        [program] if program.ends_with("init") || program.ends_with("systemd") => {
            (tree.lookup(program) == tree.lookup(found.0)).then_some(found)
        }
        _ => None,
    }
}

/// What an archive is, by the names in it where nobody said.
fn recognise(plain: &Region, kind: ArchiveKind) -> Result<ArchiveKind, ImportError> {
    if kind != ArchiveKind::Auto {
        return Ok(kind);
    }
    let (mut layout, mut docker) = (false, false);
    for member in Members::new(plain.clone()) {
        let member = member?;
        match member.path.strip_prefix(b"./").unwrap_or(&member.path) {
            b"oci-layout" => layout = true,
            b"manifest.json" => docker = true,
            _ => {}
        }
    }
    Ok(match (layout, docker) {
        (true, _) => ArchiveKind::Oci,
        (false, true) => ArchiveKind::Docker,
        (false, false) => ArchiveKind::Tar,
    })
}

/// LXC and Incus put the root file system into `rootfs`, beside metadata that is not read: it may hold templates, and
/// an image's word is not run here.
fn unwrap_rootfs(tree: &mut Tree) -> Result<(), ImportError> {
    let Some(names) = tree.children(tree.root()) else { return Ok(()) };
    let wrapped = names.contains_key(b"rootfs".as_slice())
        && names.keys().all(|name| matches!(name.as_slice(), b"rootfs" | b"metadata.yaml" | b"templates"));
    if wrapped && !tree.reroot(b"rootfs") {
        return Err(ImportError::archive("its 'rootfs' is not a directory"));
    }
    Ok(())
}

fn rootfs_arch(tree: &Tree, wanted: Option<Arch>) -> Result<Arch, ImportError> {
    match (inside::arch(tree), wanted) {
        (Some(found), Some(wanted)) if found != wanted => {
            Err(ImportError::Platform(format!("its programs are for {found}, not for {wanted}")))
        }
        (Some(found), _) => Ok(found),
        (None, Some(wanted)) => Ok(wanted),
        (None, None) => {
            Err(ImportError::Platform("no program in it tells the instruction set: say it by arch".to_owned()))
        }
    }
}

fn stack(
    image: &Layered,
    tree: &mut Tree,
    scratch: &mut Scratch,
    budget: &mut Budget,
    dropped: &mut Dropped,
    progress: &mut impl FnMut(Stage, u64, u64),
) -> Result<(), ImportError> {
    let count = image.layers.len();
    if count > budget.limits().layers {
        return Err(ImportError::Limit { what: "the number of layers", limit: budget.limits().layers as u64 });
    }
    for (index, layer) in image.layers.iter().enumerate() {
        progress(Stage::Unpack, index as u64, count as u64);
        let (plain, digests) = scratch.plain(&layer.stored, budget)?;
        if let Some(digest) = &layer.digest {
            digest.check(&digests.stored)?;
        }
        layer.diff_id.check(&digests.plain)?;
        layer::apply(tree, plain, Whiteouts::Apply, budget, dropped)?;
    }
    progress(Stage::Unpack, count as u64, count as u64);
    Ok(())
}
