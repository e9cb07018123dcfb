//! What `/proc/PID/cmdline` shows of a process that was forked and not executed.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;

/// Fields of `/proc/self/stat` after the name, counted from 0: `arg_start` and `arg_end`, see proc(5).
const ARGUMENTS: (usize, usize) = (45, 46);

/// Puts `title` in place of the arguments inherited from the keeper: the paths of the board are not the container's
/// business. Needs to be the owner of its own `/proc` entry, so it comes before the process becomes non-dumpable.
pub fn set(title: &str) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (from, to) = arguments(&stat).ok_or(io::ErrorKind::InvalidData)?;
    let mut text = vec![0; usize::try_from(to - from).unwrap_or(0)];
    let kept = title.len().min(text.len().saturating_sub(1));
    text[..kept].copy_from_slice(&title.as_bytes()[..kept]);
    OpenOptions::new().write(true).open("/proc/self/mem")?.write_all_at(&text, from)
}

/// Where the arguments begin and end in memory.
fn arguments(stat: &str) -> Option<(u64, u64)> {
    // The name may contain anything; what follows its last parenthesis does not.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let field = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((field(ARGUMENTS.0)?, field(ARGUMENTS.1)?)).filter(|(from, to)| from != &0 && from < to)
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_its_own_arguments_in_memory() {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let (from, to) = super::arguments(&stat).unwrap();
        let shown = std::fs::read("/proc/self/cmdline").unwrap();
        assert_eq!(usize::try_from(to - from).unwrap(), shown.len());
        assert_eq!(super::arguments("1 (a) b) R 0"), None);
    }
}
