//! Any bytes on the line.
#![no_main]

#[path = "../properties.rs"]
mod properties;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    properties::a_receiver_takes_them(bytes);
    properties::pieces_give_the_same(bytes);
    properties::what_is_read_can_be_written(bytes);
    properties::a_line_is_found_after_them(bytes);
});
