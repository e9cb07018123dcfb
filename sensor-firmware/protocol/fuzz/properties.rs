// What must hold for any bytes. The fuzz targets and the plain tests (`tests/any_bytes.rs`) check the same.

use roost_protocol::{Event, Frame, HUMIDITY_RANGE, MAX_LINE, Parser, Receiver, TEMPERATURE_RANGE, checksum};

fn events(bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Parser::new().feed(bytes, |event| events.push(event));
    events
}

/// A receiver takes them, counts every one of their lines, and hands no value out that no chip can measure.
pub fn a_receiver_takes_them(bytes: &[u8]) {
    let mut receiver = Receiver::new();
    let mut handed_out = 0_u64;
    receiver.feed(bytes, |event| {
        handed_out += 1;
        if let Event::Frame(Frame::Reading(reading)) = event {
            assert!(reading.temperature_centi.is_none_or(|t| TEMPERATURE_RANGE.contains(&t)));
            assert!(reading.humidity_centi.is_none_or(|h| HUMIDITY_RANGE.contains(&h)));
        }
    });
    let seen = receiver.counters();
    let counted = seen.frames_ok + seen.bad_crc + seen.malformed + seen.garbage + seen.too_long + seen.out_of_range
        - seen.untrusted;
    assert_eq!(counted, handed_out);
    let dollars = bytes.iter().filter(|byte| **byte == b'$').count() as u64;
    assert!(seen.frames_ok <= dollars, "more frames than beginnings of lines");
}

/// It does not matter how they are cut into pieces.
pub fn pieces_give_the_same(bytes: &[u8]) {
    let mut parser = Parser::new();
    let mut one_by_one = Vec::new();
    for piece in bytes.chunks(7) {
        parser.feed(piece, |event| one_by_one.push(event));
    }
    assert_eq!(one_by_one, events(bytes));
}

/// Every frame that is read can be written and read again, and is the same.
pub fn what_is_read_can_be_written(bytes: &[u8]) {
    for event in events(bytes) {
        if let Event::Frame(frame) = event {
            let line = frame.line();
            assert!(line.len() <= MAX_LINE);
            assert_eq!(events(&line), [event]);
        }
    }
}

/// As the body of a line with a right checksum they are a frame or a fault, and a frame has but one spelling.
pub fn a_body_has_one_spelling(body: &[u8]) {
    let mut line = b"$".to_vec();
    line.extend_from_slice(body);
    line.extend_from_slice(format!("*{:04X}\r\n", checksum(body)).as_bytes());
    if let [Event::Frame(frame)] = events(&line)[..] {
        assert_eq!(*frame.line(), line[..], "{frame:?}");
    }
}

/// A good line after them is read.
pub fn a_line_is_found_after_them(bytes: &[u8]) {
    let mut parser = Parser::new();
    parser.feed(bytes, |_| {});
    let mut last = None;
    parser.feed(b"$R,1,1,2150,4510*B8B0\r\n", |event| last = Some(event));
    assert!(matches!(last, Some(Event::Frame(Frame::Reading(reading))) if reading.temperature_centi == Some(2150)));
}
