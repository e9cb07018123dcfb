//! The golden vectors, which the firmware's own tests read too.

use roost_protocol::{Ack, AckCode, Event, Fault, Frame, Hello, Parser, Query, Reading, Text};

const GOOD: &str = include_str!("../vectors/good.txt");
const BAD: &str = include_str!("../vectors/bad.txt");
const COMMANDS: &str = include_str!("../vectors/commands.txt");

/// Input bytes and expectation of each line that is not a comment.
fn vectors(file: &str) -> Vec<(Vec<u8>, &str)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| line.split_once(" | ").unwrap_or_else(|| panic!("no ' | ' in '{line}'")));
    pairs.map(|(input, expectation)| (unescape(input), expectation)).collect()
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b'r') => b'\r',
                Some(b'n') => b'\n',
                Some(b'\\') => b'\\',
                Some(b'x') => {
                    let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                    u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
                }
                other => panic!("unknown escape {other:?} in '{text}'"),
            },
            other => other,
        });
    }
    out
}

fn parse(bytes: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    Parser::new().feed(bytes, |event| events.push(event));
    events
}

fn field<T: std::str::FromStr>(text: &str) -> Option<T> {
    (text != "-").then(|| text.parse().unwrap_or_else(|_| panic!("'{text}' is no such field")))
}

fn expected(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["reading", seq, probe, temperature, humidity] => Event::Frame(Frame::Reading(Reading {
            seq: seq.parse().unwrap(),
            probe: probe.parse().unwrap(),
            temperature_centi: field(temperature),
            humidity_centi: field(humidity),
        })),
        ["hello", seq, version, firmware, capabilities] => Event::Frame(Frame::Hello(Hello {
            seq: seq.parse().unwrap(),
            version: version.parse().unwrap(),
            firmware: Text::new(firmware.as_bytes()).unwrap(),
            capabilities: Text::new(capabilities.as_bytes()).unwrap(),
        })),
        ["ack", seq, code] => Event::Frame(Frame::Ack(Ack {
            seq: seq.parse().unwrap(),
            code: match code {
                "0" => AckCode::Done,
                "1" => AckCode::Unsupported,
                "2" => AckCode::Invalid,
                _ => panic!("unknown code {code}"),
            },
        })),
        ["bad_crc"] => Event::Fault(Fault::BadCrc),
        ["malformed"] => Event::Fault(Fault::Malformed),
        ["too_long"] => Event::Fault(Fault::TooLong),
        ["garbage"] => Event::Fault(Fault::Garbage),
        ["out_of_range", seq, probe] => {
            Event::Fault(Fault::OutOfRange { seq: seq.parse().unwrap(), probe: probe.parse().unwrap() })
        }
        _ => panic!("unknown expectation '{text}'"),
    }
}

#[test]
fn good_frames_are_read_and_written_as_the_vectors_say() {
    let vectors = vectors(GOOD);
    assert!(vectors.len() >= 12);
    for (input, expectation) in vectors {
        let event = expected(expectation);
        assert_eq!(parse(&input), [event], "{expectation}");
        let Event::Frame(frame) = event else { panic!("{expectation} is not a frame") };
        assert_eq!(*frame.line(), input[..], "{expectation}");
    }
}

#[test]
fn bad_input_gives_exactly_the_faults_the_vectors_say() {
    let vectors = vectors(BAD);
    assert!(vectors.len() >= 40);
    for (input, expectation) in vectors {
        let events: Vec<Event> = expectation.split("; ").map(expected).collect();
        assert_eq!(parse(&input), events, "{}", input.escape_ascii());
    }
}

#[test]
fn every_query_the_hub_obeys_is_one_this_crate_writes() {
    let done: Vec<_> = vectors(COMMANDS).into_iter().filter(|(_, expectation)| expectation.ends_with(" 0")).collect();
    assert!(done.len() >= 3);
    for (input, expectation) in done {
        let seq = expectation.split(' ').nth(1).unwrap().parse().unwrap();
        let line = Frame::Query(Query { seq }).line();
        assert!(input.ends_with(&line), "{line:?} is not the end of {}", input.escape_ascii());
    }
}
