//! Any bytes between `$` and a right checksum, which a fuzzer would not find by itself.
#![no_main]

#[path = "../properties.rs"]
#[allow(dead_code, reason = "the other properties are those of the other target")]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| properties::a_body_has_one_spelling(body));
