//! What an instance finds at its first start: a NoCloud seed where the image has cloud-init, else a small equivalent.
//!
//! | image | user data | SSH keys |
//! |---|---|---|
//! | with cloud-init | `user-data` of the seed | `public-keys` in the seed's `meta-data` |
//! | without | `/var/lib/roost/user-data`; a script is executable, and the agent runs it once | root's `authorized_keys` |
//!
//! Written by the container's first process, as the container's root and below its root's descriptor, before anything of
//! the container runs.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use roost_types::{AllocationSpec, FirstBoot, InstanceId, UserData};
use rustix::fs::{AtFlags, Mode, OFlags, fchmod, mkdirat, statat};
use rustix::io::Errno;
use serde_json::json;

use super::mounts::write_file;
use super::wire::{Context, Failure};
use crate::files::way;
use crate::runtime::FIRST_BOOT_FILE;

/// Any of these tells of cloud-init.
const CLOUD_INIT: [&str; 2] = ["usr/bin/cloud-init", "etc/cloud/cloud.cfg"];
/// Where cloud-init looks for a seed.
const SEED: &str = "var/lib/cloud/seed/nocloud-net";
/// Where the small equivalent is.
const OWN: &str = "var/lib/roost";
/// The agent leaves what it fetched beside the layer; read up to so many bytes: user data may grow sixfold as JSON.
const MAX_FILE: u64 = 2 << 20;
/// The longest `authorized_keys` of an image that is added to.
const MAX_KEYS_FILE: u64 = 1 << 20;

/// What the agent left, when this is the instance's first start: not after a move, and not when it ran here before.
///
/// # Errors
/// The file cannot be read.
pub fn load(spec: &AllocationSpec, instance: &Path, ran_before: bool) -> Result<Option<FirstBoot>, Failure> {
    let moved = spec.seed_from.is_some() && spec.seed_snapshot.is_none();
    if !spec.first_boot || ran_before || moved {
        return Ok(None);
    }
    let path = instance.join(FIRST_BOOT_FILE);
    let mut text = String::new();
    let file = fs::File::open(&path).step(|| format!("open {}", path.display()))?;
    file.take(MAX_FILE).read_to_string(&mut text).step(|| format!("read {}", path.display()))?;
    serde_json::from_str(&text).map(Some).step(|| format!("understand {}", path.display()))
}

/// What is to be written, whichever of the two it will be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    instance: InstanceId,
    host_name: String,
    content: FirstBoot,
}

impl Planned {
    /// Plans it for an allocation.
    #[must_use]
    pub fn new(spec: &AllocationSpec, content: &FirstBoot) -> Self {
        Self { instance: spec.instance, host_name: spec.name.to_string(), content: content.clone() }
    }

    /// The files of a NoCloud seed. JSON is YAML. The network is set up from outside, so that nothing is left to do.
    fn seed(&self) -> [(&'static str, String); 4] {
        let meta = json!({
            "instance-id": self.instance,
            "local-hostname": self.host_name,
            "public-keys": self.content.ssh_keys,
        });
        let user_data = self.content.user_data.as_ref().map_or("#cloud-config\n{}\n", |data| data.0.as_str());
        [
            ("meta-data", format!("{meta}\n")),
            ("user-data", user_data.to_owned()),
            ("vendor-data", "#cloud-config\n{}\n".to_owned()),
            ("network-config", "config: disabled\n".to_owned()),
        ]
    }
}

/// Writes it below `root`. To be called as the container's root.
///
/// # Errors
/// The step that failed.
pub fn write(root: BorrowedFd<'_>, planned: &Planned) -> Result<(), Failure> {
    if CLOUD_INIT.iter().any(|path| exists(root, path)) {
        ensure_directory(root, SEED, 0o755)?;
        return planned
            .seed()
            .iter()
            .try_for_each(|(name, content)| put(root, &format!("{SEED}/{name}"), content, 0o600));
    }
    if let Some(data) = &planned.content.user_data {
        ensure_directory(root, OWN, 0o755)?;
        put(root, &format!("{OWN}/user-data"), &data.0, mode_of(data))?;
    }
    if planned.content.ssh_keys.is_empty() {
        return Ok(());
    }
    ensure_directory(root, "root/.ssh", 0o700)?;
    let path = "root/.ssh/authorized_keys";
    let mut lines = read(root, path);
    for key in &planned.content.ssh_keys {
        if !lines.lines().any(|line| line == key) {
            let ends = lines.is_empty() || lines.ends_with('\n');
            lines = format!("{lines}{}{key}\n", if ends { "" } else { "\n" });
        }
    }
    put(root, path, &lines, 0o600)
}

fn mode_of(data: &UserData) -> u32 {
    if data.is_script() { 0o700 } else { 0o600 }
}

fn exists(root: BorrowedFd<'_>, path: &str) -> bool {
    open(root, path, OFlags::PATH).is_ok_and(|found| statat(&found, "", AtFlags::EMPTY_PATH).is_ok())
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<OwnedFd> {
    Ok(way::open(root, path, flags)?)
}

/// The text of a plain file; empty when there is none.
fn read(root: BorrowedFd<'_>, path: &str) -> String {
    let mut text = String::new();
    if let Ok(file) = open(root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        // What is no text is no line of keys, and is written anew.
        let _ = File::from(file).take(MAX_KEYS_FILE).read_to_string(&mut text);
    }
    text
}

/// Makes the directory and those above it where they are missing; `mode` is that of the last one.
fn ensure_directory(root: BorrowedFd<'_>, path: &str, mode: u32) -> Result<(), Failure> {
    let mut above = open(root, ".", OFlags::PATH | OFlags::DIRECTORY).step(|| "open the root")?;
    let ends = path.match_indices('/').map(|(at, _)| (at, 0o755)).chain([(path.len(), mode)]);
    for (end, mode) in ends {
        let so_far = &path[..end];
        let name = so_far.rsplit('/').next().unwrap_or(so_far);
        match mkdirat(&above, name, Mode::from_raw_mode(mode)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Failure::step(format!("make the directory /{so_far}"), &error.into())),
        }
        above = open(root, so_far, OFlags::PATH | OFlags::DIRECTORY).step(|| format!("open /{so_far}"))?;
    }
    Ok(())
}

fn put(root: BorrowedFd<'_>, path: &str, content: &str, mode: u32) -> Result<(), Failure> {
    let mode = Mode::from_raw_mode(mode);
    let written = write_file(root, path, content.as_bytes(), mode).and_then(|file| Ok(fchmod(&file, mode)?));
    written.step(|| format!("write /{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use crate::testing::Scratch;

    fn planned(user_data: Option<&str>, keys: &[&str]) -> Planned {
        let spec = crate::testing::spec(1, roost_types::ImageDigest::from_sha256(&[7; 32]), 1);
        let ssh_keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Planned::new(&spec, &FirstBoot { user_data: user_data.map(|text| UserData(text.into())), ssh_keys })
    }

    fn write_into(root: &Path, planned: &Planned) {
        let dir = fs::File::open(root).unwrap();
        write(dir.as_fd(), planned).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn an_image_with_cloud_init_gets_a_seed_and_nothing_else() {
        let scratch = Scratch::new("first-boot-seed");
        let root = scratch.path();
        fs::create_dir_all(root.join("etc/cloud")).unwrap();
        fs::write(root.join("etc/cloud/cloud.cfg"), "").unwrap();
        write_into(root, &planned(Some("#cloud-config\npackages: [nginx]\n"), &["ssh-ed25519 AAAA \"a\""]));
        let seed = |name: &str| fs::read_to_string(root.join(SEED).join(name)).unwrap();
        let meta: serde_json::Value = serde_json::from_str(&seed("meta-data")).unwrap();
        assert_eq!(meta["local-hostname"], "web");
        assert_eq!(meta["public-keys"][0], "ssh-ed25519 AAAA \"a\"");
        assert_eq!(seed("user-data"), "#cloud-config\npackages: [nginx]\n");
        assert_eq!(seed("network-config"), "config: disabled\n");
        assert!(seed("vendor-data").starts_with("#cloud-config\n"));
        assert_eq!(mode(&root.join(SEED).join("user-data")), 0o600);
        assert!(!root.join("root").exists() && !root.join(OWN).exists());
    }

    #[test]
    fn an_image_without_gets_keys_and_a_script() {
        let scratch = Scratch::new("first-boot-own");
        let root = scratch.path();
        fs::create_dir_all(root.join("root/.ssh")).unwrap();
        fs::write(root.join("root/.ssh/authorized_keys"), "ssh-rsa OLD").unwrap();
        let planned = planned(Some("#!/bin/sh\ntrue\n"), &["ssh-ed25519 A", "ssh-ed25519 B"]);
        write_into(root, &planned);
        // A start that failed is tried again.
        write_into(root, &planned);
        let keys = root.join("root/.ssh/authorized_keys");
        assert_eq!(fs::read_to_string(&keys).unwrap(), "ssh-rsa OLD\nssh-ed25519 A\nssh-ed25519 B\n");
        assert_eq!(mode(&keys), 0o600);
        assert_eq!(mode(&root.join(OWN).join("user-data")), 0o700);
        assert!(!root.join("var/lib/cloud").exists());
    }

    #[test]
    fn links_of_the_image_do_not_lead_out_of_its_root() {
        let (scratch, outside) = (Scratch::new("first-boot-link"), Scratch::new("first-boot-outside"));
        let root = scratch.path();
        fs::create_dir_all(root.join("root")).unwrap();
        symlink(outside.path(), root.join("root/.ssh")).unwrap();
        symlink(outside.path().join("x"), root.join("var")).unwrap();
        let dir = fs::File::open(root).unwrap();
        assert!(write(dir.as_fd(), &planned(None, &["ssh-ed25519 A"])).is_err());
        assert!(write(dir.as_fd(), &planned(Some("#!/bin/sh\n"), &[])).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn new_directories_have_the_mode_they_need() {
        let scratch = Scratch::new("first-boot-modes");
        write_into(scratch.path(), &planned(None, &["ssh-ed25519 A"]));
        assert_eq!(mode(&scratch.path().join("root/.ssh")), 0o700);
        assert_eq!(mode(&scratch.path().join("root")), 0o755);
    }

    #[test]
    fn only_the_first_start_of_an_instance_is_one() {
        let scratch = Scratch::new("first-boot-load");
        fs::write(scratch.path().join(FIRST_BOOT_FILE), r#"{"ssh_keys":["a"]}"#).unwrap();
        let mut spec = crate::testing::spec(1, roost_types::ImageDigest::from_sha256(&[7; 32]), 1);
        let found = |spec: &AllocationSpec, ran| load(spec, scratch.path(), ran).unwrap().is_some();
        assert!(!found(&spec, false), "nothing was given");
        spec.first_boot = true;
        assert!(found(&spec, false) && !found(&spec, true));
        spec.seed_from = Some(spec.id);
        assert!(!found(&spec, false), "it moved, and ran before");
        spec.seed_snapshot = Some(roost_types::SnapshotId::mint(1, [1; 10]));
        assert!(found(&spec, false), "it begins with the files of another");
    }
}
