//! Importing images through a real controller over HTTP: what is good, what is hostile, what is cut short.
//!
//! Needs root (the unpacking process gives it up), erofs, skopeo, umoci and docker-registry.

mod archive;
mod good;
mod hostile;
mod oci;
mod remote;
mod sandbox;
mod server;
