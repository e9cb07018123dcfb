//! The golden vectors, which the firmware's own tests read too.

use roost_protocol::{
    Ack, AckCode, Action, Command, Event, Fan, Fault, Frame, Hello, Identity, Kind, Parser, Query, Reading, Setting,
    Status, Text,
};

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

fn kind(number: &str) -> Kind {
    let number: u8 = number.parse().unwrap();
    Kind::ALL.into_iter().find(|kind| kind.number() == number).unwrap()
}

fn expected(text: &str) -> Event {
    let words: Vec<&str> = text.split(' ').collect();
    match words[..] {
        ["reading", seq, probe, temperature, humidity, ref rest @ ..] => Event::Frame(Frame::Reading(Reading {
            seq: seq.parse().unwrap(),
            probe: probe.parse().unwrap(),
            temperature_centi: field(temperature),
            humidity_centi: field(humidity),
            kind: rest.first().map(|number| kind(number)),
        })),
        ["fan", seq, fan, duty, rpm] => Event::Frame(Frame::Fan(Fan {
            seq: seq.parse().unwrap(),
            fan: fan.parse().unwrap(),
            duty_centi: duty.parse().unwrap(),
            rpm: field(rpm),
        })),
        ["status", seq, uptime, on, there, failsafe] => Event::Frame(Frame::Status(Status {
            seq: seq.parse().unwrap(),
            uptime_seconds: uptime.parse().unwrap(),
            relays_on: on.parse().unwrap(),
            relays_there: there.parse().unwrap(),
            failsafe: failsafe == "1",
        })),
        ["identity", seq, probe, number, place] => Event::Frame(Frame::Identity(Identity {
            seq: seq.parse().unwrap(),
            probe: probe.parse().unwrap(),
            kind: kind(number),
            place: Text::new(place.as_bytes()).unwrap(),
        })),
        ["setting", seq, key, value] => Event::Frame(Frame::Setting(Setting {
            seq: seq.parse().unwrap(),
            key: key.parse().unwrap(),
            value: value.parse().unwrap(),
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
                "3" => AckCode::Failed,
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

/// What the hub does, this crate can write; what the hub finds senseless, this crate cannot even read. Two things only
/// the hub knows: which settings there are, and what it is wired to.
#[test]
fn the_hub_obeys_exactly_what_this_crate_can_write() {
    let (mut done, mut refused) = (0, 0);
    for (input, expectation) in vectors(COMMANDS) {
        let last = parse(&input).pop();
        match expectation.split(' ').collect::<Vec<_>>()[..] {
            ["ack", seq, "0"] => {
                let Some(Event::Frame(frame)) = last else { panic!("{} is not read", input.escape_ascii()) };
                let (Frame::Query(Query { seq: own }) | Frame::Command(Command { seq: own, .. })) = frame else {
                    panic!("{frame:?} is no command")
                };
                assert_eq!(own.to_string(), seq);
                assert!(input.ends_with(&frame.line()), "{} is not {:?}", input.escape_ascii(), frame.line());
                done += 1;
            }
            ["ack", _, "2"] => {
                let hub_alone_knows = matches!(
                    last,
                    Some(Event::Frame(Frame::Command(Command {
                        action: Action::Get { .. } | Action::Set { .. } | Action::SetRelay { .. },
                        ..
                    })))
                );
                assert!(
                    hub_alone_knows || last == Some(Event::Fault(Fault::Malformed)),
                    "{last:?} of {}",
                    input.escape_ascii()
                );
                refused += 1;
            }
            ["ack", _, "1"] | ["nothing"] => {}
            _ => panic!("unknown expectation '{expectation}'"),
        }
    }
    assert!(done >= 15 && refused >= 20, "{done} done, {refused} refused");
}
