//! Logs while they are written, over the turns of the ring that keeps them.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;

/// Lines that an instance writes: some 2 MiB, twice a file of the ring.
const LINES: u32 = 300_000;

pub fn a_follower_sees_every_line_at_once(rack: &Rack) -> Result<()> {
    let script = format!("read go; seq 1 {LINES}; echo last; sleep 1; echo late; sleep 1000");
    let script = format!("mkfifo /tmp/go; ({script}) </tmp/go");
    rack.roost(&["launch", "busybox", "talks", "--", "sh", "-c", &script])?;
    let mut command = rack.command();
    let mut follower = command.args(["logs", "-f", "talks"]).stdout(Stdio::piped()).spawn().context("start roost")?;
    let mut lines = BufReader::new(follower.stdout.take().context("no output")?).lines();
    let seen = follow(rack, &mut lines);
    follower.kill()?;
    follower.wait()?;
    let (last, late) = seen?;
    // The pause between two lines is that of their writer.
    ensure!(late - last >= Duration::from_millis(500), "what was written late came with what was before");
    let tail = rack.roost(&["logs", "-n", "2", "talks"])?;
    ensure!(tail == "last\nlate\n", "logs -n 2: {tail:?}");
    let kept = rack.roost(&["logs", "talks"])?;
    ensure!(kept.len() < 3 << 20 && kept.ends_with(&format!("\n{LINES}\nlast\nlate\n")), "{} bytes", kept.len());
    Ok(())
}

/// Follows to the end; when the last two lines came.
fn follow(rack: &Rack, lines: &mut impl Iterator<Item = std::io::Result<String>>) -> Result<(Instant, Instant)> {
    rack.roost(&["exec", "talks", "--", "sh", "-c", "until [ -p /tmp/go ]; do sleep 0.1; done; echo go >/tmp/go"])?;
    for expected in 1..=LINES {
        let line = lines.next().context("the log ended")??;
        ensure!(line == expected.to_string(), "line {expected} is {line:?}");
    }
    let mut time_of = |text: &str| {
        let line = lines.next().context("the log ended")??;
        ensure!(line == text, "{line:?} instead of {text:?}");
        Ok(Instant::now())
    };
    Ok((time_of("last")?, time_of("late")?))
}
