//! Images in layers: an OCI image layout, or what `docker save` writes. Picks one image and names its layers.

pub mod platform;
pub mod schema;

use roost_types::Arch;
use sha2::{Digest as _, Sha256};

use crate::bundle::Bundle;
use crate::error::ImportError;
use crate::region::Region;
use platform::{arch as arch_of, label, rank};
use schema::{Descriptor, Digest, DockerManifest, ImageConfig, Index, Manifest, Platform, Runtime};

/// Indexes inside indexes: one for the layout, one for the platforms, one to spare.
const MAX_NESTED: usize = 3;
/// Manifests looked at in all.
const MAX_MANIFESTS: usize = 256;

/// What is wanted of an archive that may hold several images.
#[derive(Clone, Default, Debug)]
pub struct Choice {
    /// For boards of this kind; the only one there is when absent.
    pub arch: Option<Arch>,
    /// Of this tag.
    pub tag: Option<String>,
}

/// One image: its layers and how it is started.
pub struct Layered {
    /// Its architecture.
    pub arch: Arch,
    /// How it is started.
    pub runtime: Runtime,
    /// The layers, lowest first.
    pub layers: Vec<Layer>,
}

/// One layer.
pub struct Layer {
    /// As it is stored.
    pub stored: Region,
    /// Digest of the stored bytes, where the format has one.
    pub digest: Option<Digest>,
    /// Digest of the plain bytes.
    pub diff_id: Digest,
}

/// An image among several.
pub struct Candidate {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it runs on.
    pub platform: Platform,
    /// Its tag, where it has one.
    pub tag: Option<String>,
}

/// The chosen image of an OCI image layout.
///
/// # Errors
/// When the layout is not whole, a digest is wrong, or no or several images fit the choice.
pub fn from_layout(bundle: &Bundle, choice: &Choice) -> Result<Layered, ImportError> {
    let (index, _): (Index, _) = bundle.document("index.json")?;
    let mut candidates = Vec::new();
    collect(bundle, &index.manifests, None, 0, &mut candidates)?;
    let (chosen, arch) = choose(&candidates, choice)?;
    layered(bundle, &chosen.manifest, arch)
}

/// The one image that fits the choice best, and the architecture it was chosen for.
///
/// # Errors
/// When none fits, or several do equally well.
pub fn choose<'a>(candidates: &'a [Candidate], choice: &Choice) -> Result<(&'a Candidate, Arch), ImportError> {
    let tagged = |candidate: &&Candidate| choice.tag.is_none() || candidate.tag == choice.tag;
    let candidates: Vec<&Candidate> = candidates.iter().filter(tagged).collect();
    let platforms: Vec<&Platform> = candidates.iter().map(|candidate| &candidate.platform).collect();
    let arch = wanted_arch(&platforms, choice)?;
    let ranked = candidates.iter().filter_map(|candidate| Some((rank(&candidate.platform, arch)?, *candidate)));
    let mut ranked: Vec<(u32, &Candidate)> = ranked.collect();
    ranked.sort_by_key(|(rank, candidate)| (*rank, candidate.manifest.digest.clone()));
    ranked.dedup_by_key(|(_, candidate)| candidate.manifest.digest.clone());
    let [(best, chosen), rest @ ..] = ranked.as_slice() else { return Err(no_image(&platforms, arch)) };
    if rest.first().is_some_and(|(rank, _)| rank == best) {
        let tags: Vec<&str> = candidates.iter().filter_map(|candidate| candidate.tag.as_deref()).collect();
        return Err(several(&tags));
    }
    Ok((chosen, arch))
}

/// Everything in an index that is an image for some platform.
fn collect(
    bundle: &Bundle,
    descriptors: &[Descriptor],
    tag: Option<&str>,
    depth: usize,
    out: &mut Vec<Candidate>,
) -> Result<(), ImportError> {
    if depth >= MAX_NESTED {
        return Err(ImportError::Limit { what: "the depth of nested indexes", limit: MAX_NESTED as u64 });
    }
    for descriptor in descriptors {
        if out.len() >= MAX_MANIFESTS {
            return Err(ImportError::Limit { what: "the number of manifests", limit: MAX_MANIFESTS as u64 });
        }
        let tag = descriptor.tag().or(tag);
        match descriptor.media_type.as_str() {
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json" => {
                let index: Index = bundle.blob(&descriptor.digest, descriptor.size)?;
                collect(bundle, &index.manifests, tag, depth + 1, out)?;
            }
            "application/vnd.oci.image.manifest.v1+json" | "application/vnd.docker.distribution.manifest.v2+json" => {
                let platform = match &descriptor.platform {
                    Some(platform) => platform.clone(),
                    None => read_config(bundle, &read_manifest(bundle, descriptor)?)?.platform,
                };
                out.push(Candidate { manifest: descriptor.clone(), platform, tag: tag.map(str::to_owned) });
            }
            // Signatures, attestations and the like are nobody's root file system.
            _ => {}
        }
    }
    Ok(())
}

fn read_manifest(bundle: &Bundle, descriptor: &Descriptor) -> Result<Manifest, ImportError> {
    bundle.blob(&descriptor.digest, descriptor.size)
}

fn read_config(bundle: &Bundle, manifest: &Manifest) -> Result<ImageConfig, ImportError> {
    match manifest.config.media_type.as_str() {
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json" => {
            bundle.blob(&manifest.config.digest, manifest.config.size)
        }
        other => Err(ImportError::archive(format!(
            "it is not a container image: its configuration is of type '{}'",
            crate::error::printable(other.as_bytes())
        ))),
    }
}

fn layered(bundle: &Bundle, descriptor: &Descriptor, arch: Arch) -> Result<Layered, ImportError> {
    let manifest = read_manifest(bundle, descriptor)?;
    let config = read_config(bundle, &manifest)?;
    if rank(&config.platform, arch).is_none() {
        let found = label(&config.platform);
        return Err(ImportError::archive(format!("the index promises {arch}, but the image is for {found}")));
    }
    let diff_ids = config.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() {
        return Err(ImportError::archive("the manifest and the configuration name different numbers of layers"));
    }
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.into_iter().zip(diff_ids) {
        check_layer_type(&layer.media_type)?;
        let stored = bundle.part(&layer.digest.blob_path())?;
        if stored.len() != layer.size {
            let text = format!("layer {} does not have its stated size of {} bytes", layer.digest, layer.size);
            return Err(ImportError::archive(text));
        }
        layers.push(Layer { stored, digest: Some(layer.digest), diff_id });
    }
    Ok(Layered { arch, runtime: config.config.unwrap_or_default(), layers })
}

fn check_layer_type(media_type: &str) -> Result<(), ImportError> {
    match media_type {
        "application/vnd.oci.image.layer.v1.tar"
        | "application/vnd.oci.image.layer.v1.tar+gzip"
        | "application/vnd.oci.image.layer.v1.tar+zstd"
        | "application/vnd.docker.image.rootfs.diff.tar"
        | "application/vnd.docker.image.rootfs.diff.tar.gzip"
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(()),
        other => Err(ImportError::archive(format!(
            "a layer is of type '{}', which is not supported",
            crate::error::printable(other.as_bytes())
        ))),
    }
}

/// The chosen image of an archive that `docker save` wrote.
///
/// # Errors
/// When the archive is not whole, a digest is wrong, or no or several images fit the choice.
pub fn from_docker(bundle: &Bundle, choice: &Choice) -> Result<Layered, ImportError> {
    let (manifests, _): (Vec<DockerManifest>, _) = bundle.document("manifest.json")?;
    let tags = |manifest: &DockerManifest| manifest.repo_tags.clone().unwrap_or_default();
    let mut fitting =
        manifests.iter().filter(|manifest| choice.tag.as_ref().is_none_or(|tag| tags(manifest).contains(tag)));
    let all: Vec<String> = manifests.iter().flat_map(tags).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let manifest = fitting.next().ok_or_else(|| several(&all))?;
    if fitting.next().is_some() {
        return Err(several(&all));
    }
    let (config, bytes): (ImageConfig, _) = bundle.document(&manifest.config)?;
    let stem = manifest.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if let Ok(named) = Digest::parse(&format!("sha256:{stem}")) {
        named.check(&Sha256::digest(&bytes).into())?;
    }
    let arch = wanted_arch(&[&config.platform], choice)?;
    if config.rootfs.diff_ids.len() != manifest.layers.len() {
        return Err(ImportError::archive("the manifest and the configuration name different numbers of layers"));
    }
    let layers = manifest
        .layers
        .iter()
        .zip(config.rootfs.diff_ids)
        .map(|(name, diff_id)| Ok(Layer { stored: bundle.part(name)?, digest: None, diff_id }));
    Ok(Layered {
        arch,
        runtime: config.config.unwrap_or_default(),
        layers: layers.collect::<Result<_, ImportError>>()?,
    })
}

fn wanted_arch(platforms: &[&Platform], choice: &Choice) -> Result<Arch, ImportError> {
    if let Some(arch) = choice.arch {
        let fits = platforms.iter().any(|platform| rank(platform, arch).is_some());
        return if fits { Ok(arch) } else { Err(no_image(platforms, arch)) };
    }
    let mut known: Vec<Arch> = platforms.iter().filter_map(|platform| arch_of(platform)).collect();
    known.sort_unstable();
    known.dedup();
    match known.as_slice() {
        [only] => Ok(*only),
        [] => Err(ImportError::Platform(format!("it has no image for armhf, arm64 or amd64: {}", labels(platforms)))),
        several => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(ImportError::Platform(format!("it has images for {}: say which by arch", names.join(", "))))
        }
    }
}

fn labels(platforms: &[&Platform]) -> String {
    let mut names: Vec<String> = platforms.iter().map(|platform| label(platform)).collect();
    names.sort();
    names.dedup();
    names.truncate(16);
    if names.is_empty() { "it has none at all".to_owned() } else { format!("it has {}", names.join(", ")) }
}

fn no_image(platforms: &[&Platform], arch: Arch) -> ImportError {
    ImportError::Platform(format!("it has no image for {arch}: {}", labels(platforms)))
}

fn several(tags: &[&str]) -> ImportError {
    let tags: Vec<String> = tags.iter().take(16).map(|tag| crate::error::printable(tag.as_bytes())).collect();
    let tags = if tags.is_empty() { "none has a tag".to_owned() } else { tags.join(", ") };
    ImportError::Platform(format!("no single image fits: say which by tag ({tags})"))
}
