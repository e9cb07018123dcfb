//! The properties that the fuzz targets search breaches of, on bytes of chance and on every golden vector.

#[path = "../fuzz/properties.rs"]
mod properties;

use proptest::prelude::*;

/// Bytes of the line's own alphabet and others.
fn line_like() -> impl Strategy<Value = Vec<u8>> {
    let byte =
        prop_oneof![6 => prop::sample::select(&b"$RHTSIVAQBFPGC,,,0123456789-*ABCDEF\r\n"[..]), 1 => any::<u8>()];
    proptest::collection::vec(byte, 0..600)
}

/// Bodies that look like frames: a letter, then fields.
fn body_like() -> impl Strategy<Value = Vec<u8>> {
    "[RHTSIVAQBFPGC]{1,2}(,(-?[0-9]{0,6}|0x44|pin2|[ -~]{0,30})){0,6}".prop_map(String::into_bytes)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if std::env::var_os("ROOST_SOAK").is_some() { 200_000 } else { 2_000 }, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        all(&bytes);
    }

    #[test]
    fn bytes_that_look_like_lines(bytes in line_like()) {
        all(&bytes);
    }

    #[test]
    fn bodies_that_look_like_frames(body in body_like()) {
        properties::a_body_has_one_spelling(&body);
    }
}

fn all(bytes: &[u8]) {
    properties::a_receiver_takes_them(bytes);
    properties::pieces_give_the_same(bytes);
    properties::what_is_read_can_be_written(bytes);
    properties::a_body_has_one_spelling(bytes);
    properties::a_line_is_found_after_them(bytes);
}

/// Each vector with each of its bytes left out, doubled or changed.
#[test]
fn vectors_and_their_neighbours() {
    let files = [
        include_str!("../vectors/good.txt"),
        include_str!("../vectors/bad.txt"),
        include_str!("../vectors/commands.txt"),
    ];
    let mut looked = 0;
    for line in files.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with('#')) {
        let input = line.split(" | ").next().unwrap_or_default().replace("\\r\\n", "\r\n").into_bytes();
        all(&input);
        for at in 0..input.len().min(130) {
            let mut other = input.clone();
            other.remove(at);
            all(&other);
            other.insert(at, input[at] ^ 1);
            all(&other);
            other.insert(at, input[at]);
            all(&other);
            looked += 3;
        }
    }
    assert!(looked > 5_000, "{looked}");
}
