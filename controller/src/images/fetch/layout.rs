//! Writing an OCI image layout as a tar archive, part by part, as it comes from a registry.

use roost_types::{Code, Problem};

use crate::images::job::ArchiveWriter;

/// A layout on its way to the disk.
pub struct Layout {
    archive: ArchiveWriter,
    left: u64,
    padding: usize,
}

impl Layout {
    /// Begins with the mark of a layout.
    pub async fn new(archive: ArchiveWriter) -> Result<Self, Problem> {
        let mut layout = Self { archive, left: 0, padding: 0 };
        layout.put("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#).await?;
        Ok(layout)
    }

    /// Bytes so far.
    pub const fn written(&self) -> u64 {
        self.archive.written()
    }

    /// Begins a part of exactly `size` bytes.
    pub async fn begin(&mut self, name: &str, size: u64) -> Result<(), Problem> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name).map_err(|e| crate::images::upload::failed("naming a part", &e))?;
        header.set_size(size);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_cksum();
        self.left = size;
        self.padding = usize::try_from(size.next_multiple_of(512) - size).unwrap_or_default();
        self.archive.write(header.as_bytes()).await
    }

    /// Adds bytes to the part.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Problem> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| wrong("longer"))?;
        self.archive.write(bytes).await
    }

    /// Ends the part.
    pub async fn end(&mut self) -> Result<(), Problem> {
        if self.left > 0 {
            return Err(wrong("shorter"));
        }
        self.archive.write(&[0; 512][..self.padding]).await
    }

    /// A whole part.
    pub async fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Problem> {
        self.begin(name, bytes.len() as u64).await?;
        self.write(bytes).await?;
        self.end().await
    }

    /// Ends the archive.
    pub async fn finish(mut self) -> Result<(), Problem> {
        self.archive.write(&[0; 1024]).await?;
        self.archive.finish().await
    }
}

fn wrong(how: &str) -> Problem {
    Problem::new(Code::InvalidImage, format!("a part of the image is {how} than its manifest says"))
}
