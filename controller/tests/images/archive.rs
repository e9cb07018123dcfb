//! Writing tar archives byte by byte: also those that no proper writer would write.

use std::io::Write;

use sha2::{Digest, Sha256};

/// A tar archive in the making. Nothing is checked.
#[derive(Clone, Default)]
pub struct Tar(Vec<u8>);

/// One member's header.
#[derive(Clone)]
pub struct Member<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub target: &'a [u8],
    pub mode: u32,
    pub owner: u32,
    /// As the header states it.
    pub size: u64,
}

impl Tar {
    pub fn file(self, name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        self.member(b'0', name.as_ref(), b"", data)
    }

    pub fn dir(self, name: impl AsRef<[u8]>) -> Self {
        self.member(b'5', name.as_ref(), b"", b"")
    }

    pub fn symlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(b'2', name.as_ref(), target.as_ref(), b"")
    }

    pub fn hardlink(self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        self.member(b'1', name.as_ref(), target.as_ref(), b"")
    }

    pub fn member(self, kind: u8, name: &[u8], target: &[u8], data: &[u8]) -> Self {
        let mode = if kind == b'5' { 0o755 } else { 0o644 };
        self.raw(&Member { kind, name, target, mode, owner: 0, size: data.len() as u64 }, data)
    }

    /// A member whose header may say anything.
    pub fn raw(mut self, member: &Member, data: &[u8]) -> Self {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &member.name[..member.name.len().min(100)]);
        put(100, format!("{:07o}\0", member.mode).as_bytes());
        put(108, format!("{:07o}\0", member.owner).as_bytes());
        put(116, format!("{:07o}\0", member.owner).as_bytes());
        put(124, format!("{:011o}\0", member.size).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[member.kind]);
        put(157, &member.target[..member.target.len().min(100)]);
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend_from_slice(&header);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    /// An extension header of PAX for the next member.
    pub fn pax(self, records: &[(&str, &[u8])]) -> Self {
        self.pax_of(b'x', records)
    }

    /// An extension header of PAX of a kind: `x` for the next member, `g` for all.
    pub fn pax_of(self, kind: u8, records: &[(&str, &[u8])]) -> Self {
        let mut body = Vec::new();
        for (key, value) in records {
            // The length counts itself.
            let rest = key.len() + value.len() + 3;
            let mut length = rest + 1;
            while length != rest + length.to_string().len() {
                length = rest + length.to_string().len();
            }
            body.extend(format!("{length} {key}=").as_bytes());
            body.extend(*value);
            body.push(b'\n');
        }
        self.member(kind, b"ext", b"", &body)
    }

    /// A member with a name of any length and bytes.
    pub fn long(self, name: &[u8], data: &[u8]) -> Self {
        self.pax(&[("path", name)]).file("long", data)
    }

    /// With its end marker.
    pub fn end(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 1024, 0);
        self.0
    }

    /// Without.
    pub fn cut(self) -> Vec<u8> {
        self.0
    }
}

/// A root file system that any import would take, for another program to be beside.
pub fn harmless() -> Tar {
    Tar::default().dir("bin").file("bin/sh", b"#!\n").dir("etc").file("etc/hostname", b"box\n")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn xz(bytes: &[u8], dictionary: u32) -> Vec<u8> {
    let mut options = liblzma::stream::LzmaOptions::new_preset(1).unwrap();
    options.dict_size(dictionary);
    let mut filters = liblzma::stream::Filters::new();
    filters.lzma2(&options);
    let stream = liblzma::stream::Stream::new_stream_encoder(&filters, liblzma::stream::Check::Crc64).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(bytes: &[u8], window_log: u32) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(window_log).unwrap();
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// Deterministic randomness (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % limit as u64).unwrap()
    }

    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }
}
