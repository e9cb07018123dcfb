//! Randomness from the kernel: names for this start of the agent, and jitter.

use std::fs::File;
use std::io::{self, Read};
use std::time::Duration;

/// 128 random bits as 32 hexadecimal digits.
pub fn token() -> io::Result<String> {
    let mut bytes = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Between half of `pause` and all of it, so that many agents do not knock at once.
pub fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut byte));
    let share = if read.is_ok() { u32::from(byte[0]) } else { 255 };
    pause / 2 + pause / 2 * share / 255
}
