//! The kernel's packet filter: rules by the program `nft`, and the number of its last change by one small message.

use std::process::Stdio;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::FirewallError;

/// Header of a netlink message (16 bytes), then that of a netfilter message (4).
const HEADERS: usize = 20;
/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN`.
const GET_GENERATION: u16 = 10 << 8 | 16;
/// The answer: `NFT_MSG_NEWGEN`.
const NEW_GENERATION: u16 = 10 << 8 | 15;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// Attribute `NFTA_GEN_ID`: a number in network byte order.
const GENERATION_ID: u16 = 1;

/// Runs `nft` with `input` and returns what it printed.
pub async fn nft(args: &[&str], input: &str) -> Result<String, FirewallError> {
    let mut command = Command::new("nft");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => FirewallError::Missing,
        _ => FirewallError::Run(error),
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).await.map_err(FirewallError::Run)?;
    }
    let output = child.wait_with_output().await.map_err(FirewallError::Run)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(FirewallError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Grows by one with every change of any rule in this network namespace, whoever makes it; none when the kernel does
/// not tell.
pub fn generation() -> Option<u32> {
    let mut socket = Socket::new(NETLINK_NETFILTER).ok()?;
    socket.bind_auto().ok()?;
    socket.connect(&SocketAddr::new(0, 0)).ok()?;
    socket.send(&generation_request(), 0).ok()?;
    let (answer, _) = socket.recv_from_full().ok()?;
    generation_in(&answer)
}

fn generation_request() -> [u8; HEADERS] {
    let mut request = [0; HEADERS];
    // The length is a constant far below u32::MAX.
    request[0..4].copy_from_slice(&(HEADERS as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&GET_GENERATION.to_ne_bytes());
    request[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    request
}

fn generation_in(answer: &[u8]) -> Option<u32> {
    let short = |at: usize| Some(u16::from_ne_bytes(answer.get(at..at + 2)?.try_into().ok()?));
    if short(4)? != NEW_GENERATION {
        return None;
    }
    let mut at = HEADERS;
    loop {
        let (length, kind) = (usize::from(short(at)?), short(at + 2)?);
        if kind == GENERATION_ID {
            return Some(u32::from_be_bytes(answer.get(at + 4..at + 8)?.try_into().ok()?));
        }
        // Attributes are at least a header long and begin at multiples of four.
        at += length.max(4).next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_found_among_attributes_and_nonsense_is_none() {
        let mut answer = [0; HEADERS].to_vec();
        answer[4..6].copy_from_slice(&NEW_GENERATION.to_ne_bytes());
        let attribute = |kind: u16, value: &[u8]| {
            let length = u16::try_from(4 + value.len()).unwrap();
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat()
        };
        answer.extend(attribute(3, b"nft\0"));
        answer.extend(attribute(GENERATION_ID, &[0, 0, 1, 2]));
        assert_eq!(generation_in(&answer), Some(258));
        for cut in 0..answer.len() {
            assert_eq!(generation_in(&answer[..cut]), None);
        }
        answer[20] = 0;
        answer[22] = 9;
        assert_eq!(generation_in(&answer), None, "an attribute of no length is stepped over");
    }
}
