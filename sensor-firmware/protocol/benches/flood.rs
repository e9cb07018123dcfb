//! What a flood of 1 Mbit/s costs: `cargo bench -p roost-protocol`.
//!
//! A port of 115,200 baud carries a ninth of that. The controller looks at 4 KiB of each second; here everything is looked
//! at, which is the worst a host without a budget would see.

use std::hint::black_box;
use std::time::{Duration, Instant};

use roost_protocol::{Frame, Hello, Reading, Receiver, Text};

/// Bytes of one second.
const SECOND: usize = 1_000_000 / 8;
/// Seconds that are measured.
const SECONDS: u32 = 20;

fn main() {
    println!("1 Mbit/s, everything looked at; share of one core");
    for (name, piece) in floods() {
        let second: Vec<u8> = piece.into_iter().cycle().take(SECOND).collect();
        let mut receiver = Receiver::new();
        let began = Instant::now();
        for _ in 0..SECONDS {
            receiver.feed(black_box(&second), |event| {
                black_box(event);
            });
        }
        let share = began.elapsed().as_secs_f64() / Duration::from_secs(SECONDS.into()).as_secs_f64();
        println!("{name:<28} {:.3} %   {:?}", share * 100.0, receiver.counters());
    }
}

/// Each kind of flood with the piece it repeats.
fn floods() -> [(&'static str, Vec<u8>); 6] {
    let readings = (0..1000_u16).flat_map(|seq| {
        let reading = Reading { seq, probe: 1, temperature_centi: Some(2150), humidity_centi: Some(4510), kind: None };
        Frame::Reading(reading).line().to_vec()
    });
    let full = |byte: u8| vec![byte; 48];
    let hello = Frame::Hello(Hello {
        seq: 1,
        version: 1,
        firmware: Text::new(&full(b'f')[..32]).expect("a firmware fits"),
        capabilities: Text::new(&full(b'c')).expect("capabilities fit"),
    });
    let mut wrong = hello.line().to_vec();
    wrong[8] ^= 1;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let noise = (0..100_000).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    });
    [
        ("good readings", readings.collect()),
        ("the longest lines", hello.line().to_vec()),
        ("wrong checksums", wrong),
        ("beginnings of lines", b"$".to_vec()),
        ("empty lines", b"$\r\n".to_vec()),
        ("noise", noise.collect()),
    ]
}
