//! What one import may use, and what a name in an archive may look like.

use roost_types::image::MAX_IMAGE_BYTES;

use crate::error::Fault;

/// Longest component of a path, as Linux has it.
const MAX_NAME: usize = 255;

/// The caps of one import. They are checked before the bytes they bound are used.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of everything that is decompressed, all layers together.
    pub unpacked_bytes: u64,
    /// Bytes of the finished root file.
    pub image_bytes: u64,
    /// Unpacked bytes per compressed byte…
    pub ratio: u64,
    /// …where more than this many bytes are unpacked: small archives may be dense.
    pub ratio_from: u64,
    /// Entries of all layers together.
    pub entries: u64,
    /// Bytes of one path.
    pub path_bytes: usize,
    /// Directories above an entry, itself included.
    pub depth: usize,
    /// Bytes of names, link targets and attributes, which are held in memory.
    pub metadata_bytes: u64,
    /// Bytes that an xz decoder may use: a dictionary of 64 MiB and its tables.
    pub xz_memory: u64,
    /// Window of a zstd frame, as a power of two: 8 MiB.
    pub zstd_window_log: u32,
    /// Layers of an image.
    pub layers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes: 2 * MAX_IMAGE_BYTES,
            image_bytes: MAX_IMAGE_BYTES,
            ratio: 200,
            ratio_from: 16 << 20,
            entries: 200_000,
            path_bytes: 4096,
            depth: 64,
            metadata_bytes: 64 << 20,
            xz_memory: 66 << 20,
            zstd_window_log: 23,
            layers: 128,
        }
    }
}

impl Limits {
    /// The components of an entry's path: empty for the root itself. `.` and doubled slashes are left out.
    pub(crate) fn components<'a>(&self, path: &'a [u8]) -> Result<Vec<&'a [u8]>, Fault> {
        if path.is_empty() {
            return Err(Fault::EmptyName);
        }
        if path.first() == Some(&b'/') {
            return Err(Fault::Absolute);
        }
        if path.len() > self.path_bytes {
            return Err(Fault::PathTooLong(self.path_bytes));
        }
        if path.iter().any(|byte| matches!(byte, 0 | b'\n')) {
            return Err(Fault::NameBytes);
        }
        let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b".")).collect();
        if parts.contains(&b"..".as_slice()) {
            return Err(Fault::DotDot);
        }
        if parts.iter().any(|part| part.len() > MAX_NAME) {
            return Err(Fault::NameTooLong(MAX_NAME));
        }
        if parts.len() > self.depth {
            return Err(Fault::TooDeep(self.depth));
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart_or_refused() {
        let limits = Limits::default();
        for (path, parts) in [
            ("a/b", vec!["a", "b"]),
            ("./a//b/./", vec!["a", "b"]),
            (".", vec![]),
            ("./", vec![]),
            ("..a/b..", vec!["..a", "b.."]),
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
            assert_eq!(limits.components(path.as_bytes()).unwrap(), parts, "{path}");
        }
        let deep = "d/".repeat(65);
        let long = "n".repeat(256);
        let wide = format!("{}x", "n/".repeat(2048));
        for path in ["", "/", "/etc/passwd", "..", "a/../b", "a/..", "a\0b", "a\nb", &deep, &long, &wide] {
            assert!(limits.components(path.as_bytes()).is_err(), "{path:?}");
        }
    }
}
