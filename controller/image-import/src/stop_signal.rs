//! The signal that an image wants to be ended with, by its name or number.

/// Names, without `SIG`, of the signals that can ask a process for something. The numbers are those of Linux on ARM and x86.
const NAMES: [(&str, u8); 28] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// The first and last real-time signal, as C libraries count.
const REAL_TIME: (u8, u8) = (34, 64);

/// Its number, 1 to 64.
///
/// # Errors
/// What is wrong with the text, in a sentence.
pub fn number(text: &str) -> Result<u8, String> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
    let plain = || plain_number(text).filter(|number| (1..=REAL_TIME.1).contains(number));
    named.or_else(plain).or_else(|| real_time(name)).ok_or_else(|| {
        let shown = crate::error::printable(text.as_bytes());
        format!("its stop signal '{shown}' is neither a signal's name nor 1 to {}", REAL_TIME.1)
    })
}

fn plain_number(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `RTMIN`, `RTMIN+n`, `RTMAX` or `RTMAX-n`.
fn real_time(name: &str) -> Option<u8> {
    let (first, last) = REAL_TIME;
    let number = match name.strip_prefix("RTMIN") {
        Some("") => Some(first),
        Some(rest) => first.checked_add(plain_number(rest.strip_prefix('+')?)?),
        None => match name.strip_prefix("RTMAX")? {
            "" => Some(last),
            rest => last.checked_sub(plain_number(rest.strip_prefix('-')?)?),
        },
    };
    number.filter(|number| (first..=last).contains(number))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn names_and_numbers_mean_the_same_signal() {
        for (text, expected) in
            [("SIGTERM", 15), ("TERM", 15), ("15", 15), ("SIGRTMIN+3", 37), ("RTMIN", 34), ("RTMAX-1", 63), ("64", 64)]
        {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in ["", "0", "65", "-9", "+9", "256", "SIG", "SIGNOPE", "sigterm", "RTMIN+31", "RTMAX-31", "RTMIN-1"] {
            assert!(number(text).is_err(), "{text}");
        }
    }
}
