//! What must hold for any frame.

use proptest::prelude::*;
use roost_protocol::{
    Ack, AckCode, Action, Command, DUTY_RANGE, Event, Fan, Frame, Hello, Identity, Kind, MAX_LINE, MAX_RPM, Parser,
    Query, Reading, Setting, Status, TEMPERATURE_RANGE, Text,
};

fn text<const N: usize>() -> impl Strategy<Value = Text<N>> {
    proptest::collection::vec(b'-'..=b'~', 0..=N).prop_map(|bytes| Text::new(&bytes).unwrap())
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(&Kind::ALL[..])
}

fn readings() -> impl Strategy<Value = Frame> {
    let values = (proptest::option::of(TEMPERATURE_RANGE), proptest::option::of(0..=10_000_u16));
    (any::<u16>(), 1..=8_u8, values, proptest::option::of(kinds())).prop_map(
        |(seq, probe, (temperature_centi, humidity_centi), kind)| {
            Frame::Reading(Reading { seq, probe, temperature_centi, humidity_centi, kind })
        },
    )
}

fn hellos() -> impl Strategy<Value = Frame> {
    (any::<u16>(), any::<u8>(), text(), text())
        .prop_map(|(seq, version, firmware, capabilities)| Frame::Hello(Hello { seq, version, firmware, capabilities }))
}

fn fans() -> impl Strategy<Value = Frame> {
    (any::<u16>(), 1..=4_u8, DUTY_RANGE, proptest::option::of(0..=MAX_RPM))
        .prop_map(|(seq, fan, duty_centi, rpm)| Frame::Fan(Fan { seq, fan, duty_centi, rpm }))
}

fn states() -> impl Strategy<Value = Frame> {
    (any::<u16>(), 0..=0x7FFF_FFFF_u32, any::<u8>(), any::<u8>(), any::<bool>()).prop_map(
        |(seq, uptime_seconds, relays_on, relays_there, failsafe)| {
            Frame::Status(Status { seq, uptime_seconds, relays_on, relays_there, failsafe })
        },
    )
}

fn identities() -> impl Strategy<Value = Frame> {
    (any::<u16>(), 1..=8_u8, kinds(), text())
        .prop_map(|(seq, probe, kind, place)| Frame::Identity(Identity { seq, probe, kind, place }))
}

fn commands() -> impl Strategy<Value = Frame> {
    let action = prop_oneof![
        Just(Action::Beat),
        (1..=4_u8, DUTY_RANGE).prop_map(|(fan, duty_centi)| Action::SetFan { fan, duty_centi }),
        (1..=8_u8, any::<bool>()).prop_map(|(relay, on)| Action::SetRelay { relay, on }),
        any::<u8>().prop_map(|key| Action::Get { key }),
        (any::<u8>(), any::<u16>()).prop_map(|(key, value)| Action::Set { key, value }),
    ];
    (any::<u16>(), action).prop_map(|(seq, action)| Frame::Command(Command { seq, action }))
}

fn frames() -> impl Strategy<Value = Frame> {
    let code = prop::sample::select(&[AckCode::Done, AckCode::Unsupported, AckCode::Invalid, AckCode::Failed][..]);
    prop_oneof![
        readings(),
        hellos(),
        fans(),
        states(),
        identities(),
        commands(),
        (any::<u16>(), any::<u8>(), any::<u16>()).prop_map(|(seq, key, value)| Frame::Setting(Setting {
            seq,
            key,
            value
        })),
        (any::<u16>(), code).prop_map(|(seq, code)| Frame::Ack(Ack { seq, code })),
        any::<u16>().prop_map(|seq| Frame::Query(Query { seq })),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_and_fits(frame in frames()) {
        let line = frame.line();
        prop_assert!(line.len() <= MAX_LINE);
        let mut events = Vec::new();
        Parser::new().feed(&line, |event| events.push(event));
        prop_assert_eq!(events, vec![Event::Frame(frame)]);
    }

    #[test]
    fn one_wrong_bit_never_gives_another_frame(frame in frames(), place in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = frame.line().to_vec();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        Parser::new().feed(&bytes, |event| assert!(!matches!(event, Event::Frame(_)), "{event:?}"));
    }

    #[test]
    fn frames_are_found_again_after_any_noise(noise in proptest::collection::vec(any::<u8>(), 0..400), frame in frames()) {
        let mut parser = Parser::new();
        parser.feed(&noise, |_| {});
        let mut last = None;
        parser.feed(&frame.line(), |event| last = Some(event));
        prop_assert_eq!(last, Some(Event::Frame(frame)));
    }
}
