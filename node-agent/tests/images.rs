//! Images on a disk that fills up: a real one, small and in memory. Needs root.

use std::fs;
use std::path::PathBuf;

use roost_agent::images::{ImageError, Images, Wanted};
use roost_types::ImageDigest;
use roost_types::image::RootfsFormat;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system of 10 MiB.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("roost-disk-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        mount("roost-test", &path, "tmpfs", MountFlags::empty(), Some(c"size=10m")).unwrap();
        Self(path)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.0);
    }
}

fn digest(number: u8) -> ImageDigest {
    ImageDigest::from_sha256(&[number; 32])
}

/// Puts an image of so many MiB there, as an earlier download would have.
fn put(images: &Images, number: u8, mebibytes: usize) {
    fs::write(images.path(&digest(number), RootfsFormat::Erofs), vec![number; mebibytes << 20]).unwrap();
}

#[tokio::test]
async fn a_tenth_of_the_disk_is_kept_free_at_the_cost_of_what_nobody_needs() {
    let disk = SmallDisk::new("keep");
    let images = Images::open(&disk.0, None).unwrap();
    for (number, mebibytes) in [(1, 3), (2, 2), (3, 2)] {
        put(&images, number, mebibytes);
    }
    assert_eq!(images.make_room(0).await.unwrap(), [], "3 of 10 MiB are free");
    // 1 was needed until now, so 2 is the longest unneeded.
    images.set_in_use([digest(1), digest(3)].into());
    images.set_in_use([digest(3)].into());
    put(&images, 4, 2);
    images.set_in_use([digest(3), digest(4)].into());
    assert_eq!(images.make_room(1 << 20).await.unwrap(), [digest(2)]);
    assert_eq!(images.make_room(1 << 20).await.unwrap(), [], "once is enough");
    assert_eq!(images.held().unwrap(), [digest(1), digest(3), digest(4)]);
    assert_eq!(images.make_room(100 << 20).await.unwrap(), [digest(1)], "what is in use stays, however short room is");
    assert_eq!(images.held().unwrap(), [digest(3), digest(4)]);
}

#[tokio::test]
async fn an_image_that_cannot_fit_is_refused_before_the_first_byte() {
    let disk = SmallDisk::new("refuse");
    let images = Images::open(&disk.0, None).unwrap();
    put(&images, 1, 6);
    images.set_in_use([digest(1)].into());
    fs::write(disk.0.join("staging").join(format!("{}.part", digest(7).hex())), vec![0; 1 << 20]).unwrap();
    let wanted = |bytes| Wanted { digest: digest(2), format: RootfsFormat::Erofs, bytes };
    let error = images.make_room_for(&wanted(5 << 20)).await.unwrap_err();
    assert!(matches!(error, ImageError::NoRoom { need: 5_242_880, .. }), "{error}");
    assert_eq!(images.held().unwrap(), [digest(1)]);
    assert_eq!(fs::read_dir(disk.0.join("staging")).unwrap().count(), 0, "a download nobody goes on with went first");
    assert_eq!(images.make_room_for(&wanted(2 << 20)).await.unwrap(), []);
}
