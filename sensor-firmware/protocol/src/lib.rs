#![no_std]
//! protocol.
