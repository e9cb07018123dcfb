//! The members of a tar archive, one after the other, with everything that its headers say of each.
//!
//! The `tar` crate parses a header's fields; which headers belong together, and what is refused because two parsers might
//! read it differently, is decided here. Contents are not read: a member says where in the archive they are.

use tar::{EntryType, Header};

use crate::error::{Fault, ImportError};
use crate::pax::{decimal, records};
use crate::region::Region;

/// Bytes of a header and of what contents are padded to.
const BLOCK: u64 = 512;
/// Bytes of one extension header: names of 4 KiB and some attributes.
const MAX_EXTENSION: u64 = 1 << 20;

/// What a member is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberKind {
    /// A file with contents.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// Another name of a file.
    HardLink,
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
}

/// One member.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name as it stands in the archive.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: MemberKind,
    /// Target of a link.
    pub target: Vec<u8>,
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Extended attributes by full name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where its contents are.
    pub data: Region,
}

/// Walks the members of a tar archive.
#[derive(Debug)]
pub struct Members {
    archive: Region,
    at: u64,
    ended: bool,
}

/// What extension headers said of the member that follows them.
#[derive(Default)]
struct Extensions {
    long_path: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    pax: Option<Vec<u8>>,
}

impl Members {
    /// From the first member.
    #[must_use]
    pub const fn new(archive: Region) -> Self {
        Self { archive, at: 0, ended: false }
    }

    fn advance(&mut self) -> Result<Option<Member>, ImportError> {
        let mut extensions = Extensions::default();
        while let Some(header) = self.header()? {
            let size = header.entry_size().map_err(|_| broken("a header has no usable size"))?;
            let data = self.archive.part(self.at, size).ok_or_else(cut)?;
            self.at += size.div_ceil(BLOCK) * BLOCK;
            let slot = match header.entry_type() {
                EntryType::GNULongName => &mut extensions.long_path,
                EntryType::GNULongLink => &mut extensions.long_target,
                EntryType::XHeader => &mut extensions.pax,
                EntryType::XGlobalHeader => {
                    check_global(&extension(&data)?)?;
                    continue;
                }
                _ => return member(&header, data, extensions).map(Some),
            };
            if slot.replace(extension(&data)?).is_some() {
                return Err(broken("a member has two extension headers of one kind"));
            }
        }
        match extensions {
            Extensions { long_path: None, long_target: None, pax: None } => Ok(None),
            _ => Err(broken("an extension header has no member")),
        }
    }

    /// The next header; none at the end marker, behind which only zeros may follow.
    fn header(&mut self) -> Result<Option<Header>, ImportError> {
        if self.ended {
            return Ok(None);
        }
        let mut header = Header::new_old();
        self.archive.part(self.at, BLOCK).ok_or_else(cut)?;
        self.archive.read_at(header.as_mut_bytes(), self.at).map_err(ImportError::io("read the archive"))?;
        self.at += BLOCK;
        if header.as_bytes().iter().all(|byte| *byte == 0) {
            self.ended = true;
            return self.only_zeros_follow().map(|()| None);
        }
        let bytes = header.as_bytes();
        let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|byte| u32::from(*byte)).sum::<u32>() + 8 * 32;
        match header.cksum() {
            Ok(stated) if stated == sum => Ok(Some(header)),
            Ok(_) | Err(_) => Err(broken("a header's checksum is wrong")),
        }
    }

    fn only_zeros_follow(&mut self) -> Result<(), ImportError> {
        let mut chunk = [0; 64 << 10];
        while self.at < self.archive.len() {
            let count = usize::try_from(self.archive.len() - self.at).unwrap_or(usize::MAX).min(chunk.len());
            self.archive.read_at(&mut chunk[..count], self.at).map_err(ImportError::io("read the archive"))?;
            if chunk[..count].iter().any(|byte| *byte != 0) {
                return Err(broken("there is data after its end marker"));
            }
            self.at += count as u64;
        }
        Ok(())
    }
}

/// An error is the last item: the archive breaks off, or a header is wrong or contradicts another.
impl Iterator for Members {
    type Item = Result<Member, ImportError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.advance().transpose();
        self.ended |= !matches!(next, Some(Ok(_)));
        next
    }
}

fn broken(text: &str) -> ImportError {
    ImportError::archive(format!("it is not a proper tar archive: {text}"))
}

fn cut() -> ImportError {
    broken("it breaks off before its end marker")
}

fn extension(data: &Region) -> Result<Vec<u8>, ImportError> {
    if data.len() > MAX_EXTENSION {
        return Err(ImportError::Limit { what: "an extension header's size", limit: MAX_EXTENSION });
    }
    data.read_all(MAX_EXTENSION).map_err(ImportError::io("read the archive"))
}

/// Without the one NUL that ends a GNU long name.
fn long_name(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.pop_if(|last| *last == 0);
    bytes
}

/// Global headers carry comments; one that names or sizes every member is somebody's trick.
fn check_global(bytes: &[u8]) -> Result<(), ImportError> {
    for (key, _) in records(bytes).ok_or_else(|| broken("a global extension header cannot be read"))? {
        if matches!(key, b"path" | b"linkpath" | b"size" | b"uid" | b"gid") || key.starts_with(b"SCHILY.xattr.") {
            return Err(broken("a global extension header applies to every member"));
        }
    }
    Ok(())
}

fn member(header: &Header, data: Region, extensions: Extensions) -> Result<Member, ImportError> {
    let named = extensions.long_path.clone().map(long_name);
    let path = named.clone().unwrap_or_else(|| header.path_bytes().into_owned());
    let fault = |fault| ImportError::entry(&path, fault);
    let number = |value: std::io::Result<u64>, field: &[u8]| match value {
        Ok(value) => Ok(value),
        // Some writers leave out what they do not know.
        Err(_) if field.iter().all(|byte| matches!(byte, 0 | b' ')) => Ok(0),
        Err(_) => Err(broken("a header's number cannot be read")),
    };
    let fields = header.as_old();
    let mode = number(header.mode().map(u64::from), &fields.mode)? & 0o7777;
    let id = |value: u64| u32::try_from(value).map_err(|_| fault(Fault::Contradiction("an owner above 32 bits")));
    let target = match extensions.long_target.clone().map(long_name) {
        Some(target) => target,
        None => header.link_name_bytes().map(|target| target.into_owned()).unwrap_or_default(),
    };
    let mut member = Member {
        kind: kind(header, &path, data.len())?,
        target,
        mode: u16::try_from(mode).unwrap_or_default(),
        uid: id(number(header.uid(), &fields.uid)?)?,
        gid: id(number(header.gid(), &fields.gid)?)?,
        mtime: header.mtime().unwrap_or_default(),
        xattrs: Vec::new(),
        data,
        path: path.clone(),
    };
    if let Some(pax) = &extensions.pax {
        apply_pax(&mut member, pax, &extensions)?;
    }
    if member.kind != MemberKind::File && !member.data.is_empty() {
        return Err(ImportError::entry(&member.path, Fault::UnexpectedData));
    }
    Ok(member)
}

fn kind(header: &Header, path: &[u8], size: u64) -> Result<MemberKind, ImportError> {
    match header.entry_type() {
        // The oldest archives mark a directory by a slash only.
        EntryType::Regular | EntryType::Continuous if path.ends_with(b"/") && size == 0 => Ok(MemberKind::Directory),
        EntryType::Regular | EntryType::Continuous => Ok(MemberKind::File),
        EntryType::Directory => Ok(MemberKind::Directory),
        EntryType::Symlink => Ok(MemberKind::Symlink),
        EntryType::Link => Ok(MemberKind::HardLink),
        EntryType::Char | EntryType::Block => Ok(MemberKind::Device),
        EntryType::Fifo => Ok(MemberKind::Fifo),
        EntryType::GNUSparse => Err(ImportError::entry(path, Fault::Sparse)),
        other => Err(ImportError::entry(path, Fault::Kind(char::from(other.as_byte())))),
    }
}

fn apply_pax(member: &mut Member, pax: &[u8], others: &Extensions) -> Result<(), ImportError> {
    let mut seen = Vec::new();
    for (key, value) in records(pax).ok_or_else(|| broken("an extension header cannot be read"))? {
        if seen.contains(&key) {
            return Err(ImportError::entry(&member.path, Fault::Contradiction("a key that is there twice")));
        }
        seen.push(key);
        let clash = |what| Err(ImportError::entry(&member.path, Fault::Contradiction(what)));
        match key {
            b"path" if others.long_path.is_some() => return clash("two long names"),
            b"path" => member.path = value.to_vec(),
            b"linkpath" if others.long_target.is_some() => return clash("two long targets"),
            b"linkpath" => member.target = value.to_vec(),
            b"size" if decimal(value) != Some(member.data.len()) => return clash("another size"),
            b"uid" | b"gid" => {
                let Some(id) = decimal(value).and_then(|id| u32::try_from(id).ok()) else {
                    return clash("an owner that is no number of 32 bits");
                };
                *(if key == b"uid" { &mut member.uid } else { &mut member.gid }) = id;
            }
            b"mtime" => {
                let whole = value.split(|byte| *byte == b'.').next().unwrap_or_default();
                member.mtime = decimal(whole).unwrap_or_default();
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err(ImportError::entry(&member.path, Fault::Sparse)),
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    member.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
    }
    Ok(())
}
