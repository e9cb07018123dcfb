//! Turning what people have (a root file system tarball, an OCI image, what `docker save` wrote) into Roost's one read-only
//! root file.
//!
//! ```text
//!  archive ─▶ plain tar ─▶ members ─▶ tree in memory ─▶ EROFS file
//!            (compression)  (members)   (layer, tree)     (erofs)
//! ```
//!
//! An archive is hostile until proven otherwise. Nothing it names is made on this machine's disk: names live in a tree in
//! memory, contents stay where they are in the archive or in one scratch file, and the result is written block by block.
//! All of it runs in a child process that has given up everything but three open files ([`sandbox`], [`child`]), under
//! the caps of [`Limits`].
//!
//! Owns no state and no files. Which archive is imported, under which alias, and what becomes of the result is the
//! controller's. Downloads are not its business: it has no network.

pub mod budget;
pub mod bundle;
pub mod child;
pub mod compression;
mod convert;
pub mod erofs;
mod error;
pub mod inside;
pub mod layer;
mod limits;
pub mod members;
pub mod oci;
mod pax;
mod region;
pub mod sandbox;
mod startup;
mod stop_signal;
pub mod tree;

pub use convert::{Files, Report, Stage, convert};
pub use error::{Blame, Fault, ImportError};
pub use limits::Limits;
pub use oci::Choice;
pub use region::Region;
