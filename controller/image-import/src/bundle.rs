//! An archive whose members are parts of an image (`index.json`, `blobs/…`, `manifest.json`), by name.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::budget::Budget;
use crate::error::{Fault, ImportError};
use crate::members::{MemberKind, Members};
use crate::oci::schema::Digest;
use crate::region::Region;

/// The largest JSON document of an image: registries refuse more than 4 MiB.
const MAX_DOCUMENT: u64 = 4 << 20;
/// Links that one name may lead through: `docker save` links a layer that two images share once.
const MAX_LINKS: usize = 8;

enum Part {
    File(Region),
    Link(Vec<u8>),
}

/// The members by their cleaned names.
pub struct Bundle {
    parts: BTreeMap<Vec<u8>, Part>,
}

impl Bundle {
    /// Lists the archive.
    ///
    /// # Errors
    /// When a member breaks a rule or is there twice.
    pub fn open(archive: Region, budget: &mut Budget) -> Result<Self, ImportError> {
        let mut parts = BTreeMap::new();
        for member in Members::new(archive) {
            let member = member?;
            budget.entry(member.path.len() + member.target.len())?;
            let fault = |fault| ImportError::entry(&member.path, fault);
            let name = budget.limits().components(&member.path).map_err(fault)?.join(&b'/');
            let part = match member.kind {
                MemberKind::Directory => continue,
                MemberKind::File => Part::File(member.data.clone()),
                MemberKind::Symlink => Part::Link(member.target.clone()),
                MemberKind::HardLink | MemberKind::Device | MemberKind::Fifo => return Err(fault(Fault::Kind('?'))),
            };
            if parts.insert(name, part).is_some() {
                return Err(fault(Fault::Duplicate));
            }
        }
        Ok(Self { parts })
    }

    /// Whether a name is there.
    pub fn has(&self, name: &str) -> bool {
        self.parts.contains_key(name.as_bytes())
    }

    /// The contents behind a name.
    ///
    /// # Errors
    /// When it is not there.
    pub fn part(&self, name: &str) -> Result<Region, ImportError> {
        let missing = || ImportError::archive(format!("'{}' is missing", crate::error::printable(name.as_bytes())));
        let mut at = clean(name.as_bytes(), b"").ok_or_else(missing)?;
        for _ in 0..MAX_LINKS {
            match self.parts.get(&at).ok_or_else(missing)? {
                Part::File(region) => return Ok(region.clone()),
                Part::Link(target) => at = clean(target, &at).ok_or_else(missing)?,
            }
        }
        Err(missing())
    }

    /// A JSON document, with its bytes.
    ///
    /// # Errors
    /// When it is not there, too large, or not what it should be.
    pub fn document<T: DeserializeOwned>(&self, name: &str) -> Result<(T, Vec<u8>), ImportError> {
        let part = self.part(name)?;
        if part.len() > MAX_DOCUMENT {
            return Err(ImportError::Limit { what: "the size of a JSON document", limit: MAX_DOCUMENT });
        }
        let bytes = part.read_all(MAX_DOCUMENT).map_err(ImportError::io("read the archive"))?;
        Ok((parse(name, &bytes)?, bytes))
    }

    /// A JSON document named by its digest, which is checked before it is read as JSON.
    ///
    /// # Errors
    /// As [`Bundle::document`], and when its digest or size is another.
    pub fn blob<T: DeserializeOwned>(&self, digest: &Digest, size: u64) -> Result<T, ImportError> {
        let name = digest.blob_path();
        let part = self.part(&name)?;
        if part.len() != size || size > MAX_DOCUMENT {
            return Err(ImportError::archive(format!("blob {digest} does not have its stated size of {size} bytes")));
        }
        let bytes = part.read_all(MAX_DOCUMENT).map_err(ImportError::io("read the archive"))?;
        digest.check(&Sha256::digest(&bytes).into())?;
        parse(&name, &bytes)
    }
}

fn parse<T: DeserializeOwned>(name: &str, bytes: &[u8]) -> Result<T, ImportError> {
    let name = crate::error::printable(name.as_bytes());
    serde_json::from_slice(bytes).map_err(|error| ImportError::archive(format!("'{name}' cannot be used: {error}")))
}

/// A name seen from the member `from`, without `.` and `..`; none when it climbs out or is absolute.
fn clean(name: &[u8], from: &[u8]) -> Option<Vec<u8>> {
    if name.first() == Some(&b'/') {
        return None;
    }
    let mut parts: Vec<&[u8]> = from.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            other => parts.push(other),
        }
    }
    Some(parts.join(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn links_between_members_stay_inside() {
        for (name, from, wanted) in [
            ("layer.tar", "", Some("layer.tar")),
            ("./a//b", "", Some("a/b")),
            ("../x/layer.tar", "y/layer.tar", Some("x/layer.tar")),
            ("../../x", "y/layer.tar", None),
            ("/etc/passwd", "y/layer.tar", None),
        ] {
            let cleaned = clean(name.as_bytes(), from.as_bytes());
            assert_eq!(cleaned.as_deref(), wanted.map(str::as_bytes), "{name} from {from}");
        }
    }
}
