//! Room on the disk: which images go when it is short, and their going.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use roost_types::ImageDigest;
use rustix::fs::statvfs;

use super::{ImageError, Images, PoisonError, Wanted, blocking, file_error};

/// One part in so many of the disk is kept free.
const KEPT_FREE: u64 = 10;

/// How full a disk is, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Space {
    free: u64,
    total: u64,
}

/// A file that could go.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Candidate {
    digest: ImageDigest,
    path: PathBuf,
    bytes: u64,
    /// When it was last needed.
    needed_at: SystemTime,
}

/// What goes so that `coming` bytes fit and a tenth of the disk stays free: what is longest unneeded first, and no more than
/// it takes.
fn victims(mut unneeded: Vec<Candidate>, space: Space, coming: u64) -> Vec<Candidate> {
    let wanted = (space.total / KEPT_FREE).saturating_add(coming);
    let mut free = space.free;
    unneeded.sort_by(|a, b| (a.needed_at, &a.digest).cmp(&(b.needed_at, &b.digest)));
    unneeded.retain(|candidate| {
        let goes = free < wanted;
        if goes {
            free = free.saturating_add(candidate.bytes);
        }
        goes
    });
    unneeded
}

impl Images {
    /// Says which images may not be removed. Those that were in this set and are not any more count as needed until now.
    pub fn set_in_use(&self, now: BTreeSet<ImageDigest>) {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        if *in_use == now {
            return;
        }
        let released: BTreeSet<&ImageDigest> = in_use.difference(&now).collect();
        for (digest, path) in self.files().unwrap_or_default() {
            if released.contains(&digest) {
                let times = FileTimes::new().set_modified(SystemTime::now());
                // A time that cannot be set only makes the image go earlier.
                let _ = File::open(path).and_then(|file| file.set_times(times));
            }
        }
        *in_use = now;
    }

    /// Makes room for what is still to come of a download.
    ///
    /// # Errors
    /// `NoRoom` when it would not fit even so.
    pub async fn make_room_for(&self, wanted: &Wanted) -> Result<Vec<ImageDigest>, ImageError> {
        if self.path(&wanted.digest, wanted.format).exists() {
            return Ok(Vec::new());
        }
        let here =
            fs::metadata(self.staging.join(format!("{}.part", wanted.digest.hex()))).map_or(0, |meta| meta.len());
        let need = wanted.bytes.saturating_sub(here);
        let removed = self.make_room(need).await?;
        let free = self.space()?.free;
        if free < need {
            return Err(ImageError::NoRoom { digest: wanted.digest.clone(), need, free });
        }
        Ok(removed)
    }

    /// Removes images that nobody needs until a tenth of the disk is free with `coming` more bytes on it, or none is left.
    ///
    /// # Errors
    /// When the disk cannot be asked or a file not be removed.
    pub async fn make_room(&self, coming: u64) -> Result<Vec<ImageDigest>, ImageError> {
        let images = self.clone();
        blocking(move || images.remove_unneeded(coming)).await
    }

    fn remove_unneeded(&self, coming: u64) -> Result<Vec<ImageDigest>, ImageError> {
        // Nothing comes into use while files go.
        let in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unneeded = Vec::new();
        for (digest, path) in self.files()?.into_iter().filter(|(digest, _)| !in_use.contains(digest)) {
            let meta = fs::metadata(&path).map_err(file_error("look at", &path))?;
            let needed_at = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            unneeded.push(Candidate { digest, path, bytes: meta.len(), needed_at });
        }
        let victims = victims(unneeded, self.space()?, coming);
        for victim in &victims {
            fs::remove_file(&victim.path).map_err(file_error("remove", &victim.path))?;
            tracing::info!(image = %victim.digest, bytes = victim.bytes, "removed an image that nobody needs: the disk is nearly full");
        }
        Ok(victims.into_iter().map(|victim| victim.digest).collect())
    }

    /// Images, and downloads that were begun.
    fn files(&self) -> Result<Vec<(ImageDigest, PathBuf)>, ImageError> {
        let mut files = Vec::new();
        for dir in [&self.staging, &self.dir] {
            for entry in fs::read_dir(dir).map_err(file_error("list", dir))? {
                let entry = entry.map_err(file_error("list", dir))?;
                files.extend(digest_of(&entry.path()).map(|digest| (digest, entry.path())));
            }
        }
        Ok(files)
    }

    fn space(&self) -> Result<Space, ImageError> {
        let stat = statvfs(&self.dir).map_err(|errno| file_error("look at the disk of", &self.dir)(errno.into()))?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

/// From a file's name: 64 digits and an ending.
pub(super) fn digest_of(path: &Path) -> Option<ImageDigest> {
    let hex = path.file_name()?.to_str()?.split_once('.')?.0;
    format!("sha256:{hex}").parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_longest_unneeded_go_first_and_no_more_than_it_takes() {
        let image = |number: u8, bytes: u64, age: u64| Candidate {
            digest: ImageDigest::from_sha256(&[number; 32]),
            path: PathBuf::new(),
            bytes,
            needed_at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_000 - age),
        };
        let unneeded = [image(1, 50, 10), image(2, 30, 30), image(3, 40, 20)];
        for (free, coming, gone) in [
            (100, 0, vec![]),
            (99, 0, vec![2]),
            (60, 0, vec![2, 3]),
            (0, 0, vec![2, 3, 1]),
            (100, 30, vec![2]),
            (100, 31, vec![2, 3]),
            (500, 100, vec![]),
            (0, u64::MAX, vec![2, 3, 1]),
        ] {
            let victims = victims(unneeded.to_vec(), Space { free, total: 1_000 }, coming);
            let gone: Vec<ImageDigest> =
                gone.into_iter().map(|number| ImageDigest::from_sha256(&[number; 32])).collect();
            let victims: Vec<ImageDigest> = victims.into_iter().map(|victim| victim.digest).collect();
            assert_eq!(victims, gone, "{free} free, {coming} coming");
        }
    }
}
