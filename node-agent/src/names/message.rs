//! Questions and answers as bytes (RFC 1035), as much of it as an answerer of addresses needs.
//!
//! A question is read once, from front to back; nothing is ever looked up at an offset that the message names, so there
//! is no compression to follow and no loop to fall into.

use std::net::Ipv4Addr;

/// The largest question taken, in bytes: what fits a packet of every network (RFC 8020's advice of 1232).
pub const MAX_QUESTION: usize = 1232;
/// Bytes of the header.
const HEADER: usize = 12;
/// The longest name, in bytes as it is written.
const MAX_NAME: usize = 255;
/// How long an answer may be kept: 5 s, as addresses change with every move.
const TTL: u32 = 5;

/// Type `A`.
pub const A: u16 = 1;
/// Type `PTR`.
pub const PTR: u16 = 12;
/// Type `ANY`.
pub const ANY: u16 = 255;
/// Class `IN`.
const IN: u16 = 1;
/// The root name and type `OPT`: a question that can take long answers ends with it.
const OPT: [u8; 3] = [0, 0, 41];

/// Response codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Code {
    /// Here it is, or there is nothing of that type.
    Ok = 0,
    /// The question cannot be read.
    Format = 1,
    /// It cannot be answered now.
    Failure = 2,
    /// There is no such name.
    NoName = 3,
    /// Something else than a question.
    NotImplemented = 4,
    /// Not answered for this asker.
    Refused = 5,
}

/// A question that is whole and well formed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question<'a> {
    /// Repeated in the answer.
    pub id: u16,
    /// The name in lower case, labels joined by dots; a byte that no host name has is shown as `?`.
    pub name: String,
    /// Type.
    pub kind: u16,
    /// The answer is wanted even if others must be asked.
    recursion: bool,
    /// It can take long answers.
    extended: bool,
    /// Name, type and class as they came.
    bytes: &'a [u8],
}

/// What an answer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// An address.
    Address(Ipv4Addr),
    /// A name, labels joined by dots.
    Name(String),
}

/// Why a message is not a question: the answer to send, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unfit {
    /// Not even an answer is due: too short, or itself an answer.
    Silence,
    /// Told so.
    Told {
        /// Repeated in the answer.
        id: u16,
        /// Why.
        code: Code,
    },
}

/// Reads a question.
///
/// # Errors
/// What to say to what is none.
pub fn read(packet: &[u8]) -> Result<Question<'_>, Unfit> {
    let header = packet.get(..HEADER).ok_or(Unfit::Silence)?;
    let short = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (id, flags) = (short(0), short(2));
    let told = |code| Unfit::Told { id, code };
    if flags & 0x8000 != 0 {
        return Err(Unfit::Silence);
    }
    if flags & 0x7800 != 0 {
        return Err(told(Code::NotImplemented));
    }
    // One question, no answers, no authorities.
    if (short(4), short(6), short(8)) != (1, 0, 0) {
        return Err(told(Code::Format));
    }
    let (name, length) = read_name(&packet[HEADER..]).ok_or_else(|| told(Code::Format))?;
    let end = HEADER + length + 4;
    let fixed = packet.get(end - 4..end).ok_or_else(|| told(Code::Format))?;
    if u16::from_be_bytes([fixed[2], fixed[3]]) != IN {
        return Err(told(Code::Refused));
    }
    Ok(Question {
        id,
        name,
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        recursion: flags & 0x0100 != 0,
        extended: packet[end..].starts_with(&OPT),
        bytes: &packet[HEADER..end],
    })
}

/// A name and how many bytes it takes.
fn read_name(bytes: &[u8]) -> Option<(String, usize)> {
    let (mut name, mut at) = (String::new(), 0);
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1;
        // More than 63 is a reference to elsewhere, which a first name cannot have.
        if length > 63 || at + length > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some((name, at));
        }
        let label = bytes.get(at..at + length)?;
        if !name.is_empty() {
            name.push('.');
        }
        let shown = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        name.extend(label.iter().map(|byte| if shown(byte) { char::from(byte.to_ascii_lowercase()) } else { '?' }));
        at += length;
    }
}

/// The answer to a message that is not a question.
#[must_use]
pub fn refusal(id: u16, code: Code) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![high, low, 0x80, code as u8, 0, 0, 0, 0, 0, 0, 0, 0]
}

impl Question<'_> {
    /// An answer of our own knowledge.
    #[must_use]
    pub fn answer(&self, code: Code, record: Option<&Record>) -> Vec<u8> {
        let mut answer = Vec::with_capacity(HEADER + self.bytes.len() + 96);
        answer.extend(self.id.to_be_bytes());
        // An answer, of authority, recursion offered.
        answer.push(0x84 | u8::from(self.recursion));
        answer.push(0x80 | code as u8);
        let counts = [1, u16::from(record.is_some()), 0, u16::from(self.extended)];
        answer.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
        answer.extend(self.bytes);
        if let Some(record) = record {
            let (kind, data) = match record {
                Record::Address(address) => (A, address.octets().to_vec()),
                Record::Name(name) => (PTR, written(name)),
            };
            // The name is the question's, at offset 12.
            answer.extend([0xC0, 12]);
            answer.extend([kind, IN].iter().flat_map(|number| number.to_be_bytes()));
            answer.extend(TTL.to_be_bytes());
            answer.extend(u16::try_from(data.len()).unwrap_or_default().to_be_bytes());
            answer.extend(data);
        }
        if self.extended {
            answer.extend(OPT);
            answer.extend((MAX_QUESTION as u16).to_be_bytes());
            answer.extend([0; 6]);
        }
        answer
    }

    /// Whether `packet` is somebody's answer to this question.
    #[must_use]
    pub fn is_answered_by(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.get(..HEADER) else { return false };
        let asked = packet.get(HEADER..HEADER + self.bytes.len());
        header[..2] == self.id.to_be_bytes()
            && header[2] & 0x80 != 0
            && asked.is_some_and(|asked| asked.eq_ignore_ascii_case(self.bytes))
    }
}

/// A name of well formed labels as bytes.
fn written(name: &str) -> Vec<u8> {
    let labels = name.split('.').filter_map(|label| Some((u8::try_from(label.len()).ok()?, label)));
    labels.flat_map(|(length, label)| std::iter::once(length).chain(label.bytes())).chain([0]).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A question as a resolver asks it.
    pub fn asked(name: &str, kind: u16) -> Vec<u8> {
        let mut packet = vec![0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        packet.extend(if name.is_empty() { vec![0] } else { written(name) });
        packet.extend([kind, IN].iter().flat_map(|number| number.to_be_bytes()));
        packet
    }

    fn with_opt(mut packet: Vec<u8>) -> Vec<u8> {
        packet[11] = 1;
        packet.extend(OPT);
        packet.extend([4, 208, 0, 0, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn a_question_is_read_and_answered_in_its_own_words() {
        let packet = with_opt(asked("Web.Default", A));
        let question = read(&packet).unwrap();
        assert_eq!((question.name.as_str(), question.kind, question.id), ("web.default", A, 0xABCD));
        let answer = question.answer(Code::Ok, Some(&Record::Address(Ipv4Addr::new(10, 77, 1, 2))));
        assert_eq!(answer[..12], [0xAB, 0xCD, 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 1]);
        assert_eq!(answer[12..29], packet[12..29], "the case of the question is kept");
        assert_eq!(answer[29..45], [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 10, 77, 1, 2]);
        assert_eq!(answer[45..48], OPT);
        assert!(question.is_answered_by(&answer));
    }

    #[test]
    fn what_is_no_question_is_told_so_or_nothing() {
        let told = |code| Err(Unfit::Told { id: 0xABCD, code });
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = asked("web", A);
            edit(&mut packet);
            read(&packet).map(|question| question.name)
        };
        assert_eq!(edited(&|_| {}), Ok("web".to_owned()));
        assert_eq!(edited(&|p| p.truncate(11)), Err(Unfit::Silence));
        assert_eq!(edited(&|p| p[2] = 0x80), Err(Unfit::Silence), "an answer");
        assert_eq!(edited(&|p| p[2] = 0x28), told(Code::NotImplemented), "an update");
        assert_eq!(edited(&|p| p[5] = 2), told(Code::Format), "two questions");
        assert_eq!(edited(&|p| p[7] = 1), told(Code::Format), "an answer inside");
        assert_eq!(edited(&|p| p[12] = 0xC0), told(Code::Format), "a reference to itself");
        assert_eq!(edited(&|p| p.truncate(15)), told(Code::Format), "half a name");
        assert_eq!(edited(&|p| p.truncate(18)), told(Code::Format), "no type");
        assert_eq!(edited(&|p| p[20] = 3), told(Code::Refused), "another class");
        let long = asked(&["a"; 127].join("."), A);
        assert_eq!(read(&long).unwrap().name.len(), 253);
        let longer = asked(&["a"; 128].join("."), A);
        assert_eq!(read(&longer), Err(Unfit::Told { id: 0xABCD, code: Code::Format }));
    }

    #[test]
    fn another_answer_is_not_taken_for_ours() {
        let packet = asked("example.com", A);
        let question = read(&packet).unwrap();
        let good = question.answer(Code::Ok, None);
        for (at, bit) in [(0, 1), (1, 1), (2, 0x80), (13, 1), (25, 1)] {
            let mut other = good.clone();
            other[at] ^= bit;
            assert!(!question.is_answered_by(&other), "byte {at}");
        }
        assert!(!question.is_answered_by(&good[..20]));
    }

    proptest! {
        #[test]
        fn nothing_makes_the_reader_panic_and_what_it_takes_is_bounded(
            packet in proptest::collection::vec(any::<u8>(), 0..600)
        ) {
            if let Ok(question) = read(&packet) {
                prop_assert!(question.name.len() < MAX_NAME && question.bytes.len() <= MAX_NAME + 4);
                let answer = question.answer(Code::NoName, None);
                prop_assert!(question.is_answered_by(&answer) && answer.len() <= 512);
            }
        }

        #[test]
        fn a_damaged_question_is_read_or_refused(at in 0_usize..40, byte: u8, cut in 0_usize..60) {
            let mut packet = with_opt(asked("web.default.roost.internal", A));
            let length = packet.len();
            packet[at % length] = byte;
            packet.truncate(cut.min(length));
            // Neither panics nor hangs; a name that is read is not longer than what was sent.
            if let Ok(question) = read(&packet) {
                prop_assert!(question.name.len() <= packet.len());
            }
        }

        #[test]
        fn every_host_name_reads_back(labels in proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", 1..6)) {
            let name = labels.join(".");
            let packet = asked(&name, PTR);
            prop_assert_eq!(&read(&packet).unwrap().name, &name);
            let question = read(&packet).unwrap();
            let answer = question.answer(Code::Ok, Some(&Record::Name(name.clone())));
            let written = &answer[answer.len() - name.len() - 2..];
            prop_assert_eq!(read_name(written), Some((name.clone(), name.len() + 2)));
        }
    }
}
