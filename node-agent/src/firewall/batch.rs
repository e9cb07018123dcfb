//! Changes of elements as one netlink message to the kernel's packet filter: a transaction that is refused as a whole
//! when anything has changed any rule since.
//!
//! `nft` would list every table of the machine first and takes ten times as long; instances come and go far more often
//! than rules do.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

use super::elements::{Element, Value, bytes};
use super::rules::TABLE;

/// The most elements of one batch; more are left to `nft`.
pub const MOST: usize = 500;

/// Length of the header of a netlink message, in bytes.
const HEADER: usize = 16;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 16;
const END: u16 = 17;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// `NFT_MSG_NEWSETELEM` and `NFT_MSG_DELSETELEM`.
const NEW_ELEMENT: u16 = NFTABLES << 8 | 12;
const DELETE_ELEMENT: u16 = NFTABLES << 8 | 14;
/// `NLM_F_REQUEST`, `NLM_F_ACK`, `NLM_F_CREATE`.
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const CREATE: u16 = 0x400;
/// `NLMSG_ERROR`: an acknowledgement when its code is 0.
const ERROR: u16 = 2;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NFT_JUMP`.
const JUMP: i32 = -3;

/// Removes and adds elements, if the generation of the rules still is `generation`; returns the one after.
///
/// # Errors
/// `ERESTART` when it is not, and what the kernel says of an element.
pub fn change(removed: &[&Element], added: &[&Element], generation: u32) -> io::Result<u32> {
    let batch = Batch::new(removed, added, generation);
    let mut socket = Socket::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    socket.send(&batch.bytes, 0)?;
    // The kernel has done all of it when it has taken the message: what it has to say is there.
    let (answer, _) = socket.recv_from_full()?;
    match code(&answer) {
        // Numbers start again after the last; none is 0.
        Some(0) => Ok(generation.checked_add(1).unwrap_or(1)),
        Some(code) => Err(io::Error::from_raw_os_error(-code)),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer is no acknowledgement")),
    }
}

/// The code of the first message of an answer.
fn code(answer: &[u8]) -> Option<i32> {
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    let code = i32::from_ne_bytes(answer.get(HEADER..HEADER + 4)?.try_into().ok()?);
    (kind == ERROR).then_some(code)
}

/// A message that is being put together.
struct Batch {
    bytes: Vec<u8>,
}

impl Batch {
    fn new(removed: &[&Element], added: &[&Element], generation: u32) -> Self {
        let mut batch = Self { bytes: Vec::new() };
        batch.message(BEGIN, REQUEST, 0, NFTABLES, |batch| batch.attribute(1, &generation.to_be_bytes()));
        let changes = removed.iter().map(|element| (DELETE_ELEMENT, REQUEST, element));
        let changes = changes.chain(added.iter().map(|element| (NEW_ELEMENT, REQUEST | CREATE, element)));
        let last = removed.len() + added.len();
        for (number, (kind, flags, element)) in (1..).zip(changes) {
            let flags = if number == last { flags | ACK } else { flags };
            batch.message(kind, flags, element.set.family().number(), 0, |batch| batch.element(element));
        }
        batch.message(END, REQUEST, 0, NFTABLES, |_| {});
        batch
    }

    /// The attributes of an element to be changed.
    fn element(&mut self, element: &Element) {
        self.attribute(1, &terminated(TABLE));
        self.attribute(2, &terminated(&element.set.to_string()));
        self.nested(3, |list| {
            list.nested(1, |one| {
                one.nested(1, |key| key.attribute(1, &bytes(&element.key)));
                match &element.value {
                    Value::None => {}
                    Value::Fields(fields) => one.nested(2, |data| data.attribute(1, &bytes(fields))),
                    Value::Jump(chain) => one.nested(2, |data| {
                        data.nested(2, |verdict| {
                            verdict.attribute(1, &JUMP.to_be_bytes());
                            verdict.attribute(2, &terminated(chain));
                        });
                    }),
                }
            });
        });
    }

    /// A message for the packet filter: its header and what `fill` adds.
    fn message(&mut self, kind: u16, flags: u16, family: u8, resource: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(flags.to_ne_bytes());
        // No number of its own, no sender.
        self.bytes.extend([0; 8]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).expect("a message is short");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        fill(self);
        self.end_attribute(start);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.end_attribute(start);
    }

    /// Writes the length of the attribute that began at `start`, and fills it up to a multiple of four.
    fn end_attribute(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).expect("an attribute is short");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// A text with the zero that ends it.
fn terminated(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}

#[cfg(test)]
mod tests {
    use super::super::elements::{Field, Set};
    use super::*;

    #[test]
    fn a_batch_is_whole_messages_and_only_the_last_change_is_acknowledged() {
        let element = |port| Element { set: Set::Ports, key: vec![Field::Port(port)], value: Value::None };
        let (old, new) = (element(1), element(2));
        let batch = Batch::new(&[&old], &[&new], 7);
        let (mut at, mut seen) = (0, Vec::new());
        while at < batch.bytes.len() {
            let word = |from: usize| u16::from_ne_bytes([batch.bytes[at + from], batch.bytes[at + from + 1]]);
            seen.push((word(4), word(6)));
            at += usize::from(word(0));
        }
        let changes = [(DELETE_ELEMENT, REQUEST), (NEW_ELEMENT, REQUEST | CREATE | ACK)];
        assert_eq!(seen, [&[(BEGIN, REQUEST)][..], &changes, &[(END, REQUEST)]].concat());
        assert_eq!(batch.bytes[20..28], [8, 0, 1, 0, 0, 0, 0, 7], "the generation");
    }

    #[test]
    fn an_answer_is_a_code_or_nonsense() {
        let answer = |kind: u16, code: i32| {
            let mut bytes = vec![0; HEADER];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend(code.to_ne_bytes());
            bytes
        };
        assert_eq!(code(&answer(ERROR, -17)), Some(-17));
        assert_eq!(code(&answer(3, 0)), None);
        assert_eq!(code(&answer(ERROR, 0)[..HEADER + 3]), None);
    }
}
