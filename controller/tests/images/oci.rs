//! Writing image layouts and `docker save` archives, right ones first: the hostile ones change one thing.

use serde_json::{Value, json};

use crate::archive::{Tar, gzip, sha256};

/// An image layout whose every document can be changed before its digest is taken.
pub struct Layout {
    pub layers: Vec<Vec<u8>>,
    pub config: Value,
    pub manifest: Value,
    pub index: Value,
    /// Blobs beside those of the image.
    pub more: Vec<Vec<u8>>,
}

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

pub fn blob_path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": sha256(bytes), "size": bytes.len()})
}

impl Layout {
    /// An image of these plain layers.
    pub fn of(plain: &[Vec<u8>]) -> Self {
        let diff_ids: Vec<String> = plain.iter().map(|layer| sha256(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Entrypoint": ["/bin/app"], "Cmd": ["serve"], "Env": ["PATH=/bin", "LEVEL=1"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let layers: Vec<Vec<u8>> = plain.iter().map(|layer| gzip(layer)).collect();
        let mut layout = Self { layers, config, manifest: Value::Null, index: Value::Null, more: Vec::new() };
        layout.seal_config();
        layout
    }

    /// Writes the manifest for the present configuration, and the index for that.
    pub fn seal_config(&mut self) {
        let config = self.config.to_string();
        let layers: Vec<Value> = self.layers.iter().map(|layer| descriptor(LAYER, layer)).collect();
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes()),
            "layers": layers,
        });
        self.seal_manifest();
    }

    /// Writes the index for the present manifest.
    pub fn seal_manifest(&mut self) {
        let manifest = self.manifest.to_string();
        self.index = json!({"schemaVersion": 2, "manifests": [descriptor(MANIFEST, manifest.as_bytes())]});
    }

    /// The archive, before its end.
    pub fn tar(&self) -> Tar {
        let documents = [self.config.to_string().into_bytes(), self.manifest.to_string().into_bytes()];
        let mut tar = Tar::default().file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);
        for blob in documents.iter().chain(&self.layers).chain(&self.more) {
            tar = tar.file(blob_path(&sha256(blob)), blob);
        }
        tar.file("index.json", self.index.to_string().as_bytes())
    }
}

/// What `docker save` writes of these plain layers.
pub fn docker(layers: &[Vec<u8>], edit: impl FnOnce(&mut Value, &mut Value)) -> Tar {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    let mut config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/app"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let names: Vec<String> = (0..layers.len()).map(|number| format!("layer{number}/layer.tar")).collect();
    let mut manifest = json!([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": names}]);
    edit(&mut config, &mut manifest);
    let mut tar = Tar::default();
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, layer);
    }
    tar.file("config.json", config.to_string().as_bytes()).file("manifest.json", manifest.to_string().as_bytes())
}
