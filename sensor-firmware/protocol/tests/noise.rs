//! Bad lines: wrong bits, and noise between frames.

use roost_protocol::{Counters, Event, Frame, Kind, Reading, Receiver};

/// A small generator (xorshift), so that noise is the same on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

fn reading(number: u32) -> Frame {
    Frame::Reading(Reading {
        seq: u16::try_from(number & 0xFFFF).unwrap(),
        probe: u8::try_from(number % 8 + 1).unwrap(),
        temperature_centi: i16::try_from(number % 16_501).ok().map(|n| n - 4_000),
        humidity_centi: u16::try_from(number % 10_001).ok(),
        kind: Kind::ALL.into_iter().nth(usize::try_from(number % 5).unwrap()),
    })
}

/// What came of frames over a bad line.
struct Kept {
    /// Frames without a wrong bit.
    good: u32,
    /// Of those, the ones that were handed out.
    kept: u32,
    /// Frames that were handed out and never sent.
    forged: u32,
    counters: Counters,
}

/// Sends frames; one bit in `bits_per_error` is wrong, and between two frames, one time in three, are up to 16 bytes of noise.
fn send(frames: u32, bits_per_error: u64) -> Kept {
    let mut noise = Noise(0x0005_EED0_F400_0571);
    let mut receiver = Receiver::new();
    let (mut good, mut kept, mut forged) = (0, 0, 0);
    for number in 0..frames {
        let frame = reading(number);
        let mut bytes = frame.line().to_vec();
        let mut damaged = false;
        for bit in 0..bytes.len() * 8 {
            if noise.one_in(bits_per_error) {
                bytes[bit / 8] ^= 1 << (bit % 8);
                damaged = true;
            }
        }
        if noise.one_in(3) {
            for _ in 0..noise.next() % 17 {
                let event = receiver.push(noise.next().to_le_bytes()[0]);
                forged += u32::from(matches!(event, Some(Event::Frame(_))));
            }
        }
        good += u32::from(!damaged);
        receiver.feed(&bytes, |event| match event {
            Event::Frame(got) if got == frame => kept += u32::from(!damaged),
            Event::Frame(_) => forged += 1,
            Event::Fault(_) => {}
        });
    }
    let counters = receiver.counters();
    println!("one bit in {bits_per_error}: kept {kept} of {good} good frames, forged {forged}; {counters:?}");
    Kept { good, kept, forged, counters }
}

/// One bit in a hundred is wrong: of 30 bytes, nine frames in ten have a wrong bit. All others come through.
#[test]
fn at_least_99_percent_of_good_frames_are_kept_with_one_percent_of_bits_wrong() {
    const FRAMES: u32 = 200_000;
    let Kept { good, kept, forged, .. } = send(FRAMES, 100);
    assert!(good > FRAMES / 20 && good < FRAMES / 4, "{good} of {FRAMES} are good");
    assert!(u64::from(kept) * 100 >= u64::from(good) * 99, "kept only {kept} of {good}");
    // A checksum of 16 bits lets one wrong line in 65,536 through when half of its bits are wrong; ranges stop most of those.
    assert!(forged <= 3, "{forged} frames that were not sent");
}

/// One frame in a hundred has a wrong bit.
#[test]
fn every_good_frame_is_kept_and_every_lost_one_is_counted_with_one_percent_of_frames_wrong() {
    const FRAMES: u32 = 20_000;
    let Kept { good, kept, forged, counters } = send(FRAMES, 24_000);
    assert!(good < FRAMES - 100, "the noise damaged too little to show anything");
    assert!(u64::from(kept) * 100 >= u64::from(good) * 99, "kept only {kept} of {good}");
    assert_eq!(forged, 0);
    assert_eq!(counters.untrusted, 1, "only the first frame is not trusted");
    assert_eq!(counters.lost, u64::from(FRAMES - good));
}
