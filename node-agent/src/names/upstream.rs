//! Asking the board's own resolvers. Questions and answers pass as they are; an answer must be one to the question.
//!
//! Every question has a socket, and with it a port, of its own: what is not from the resolver it was sent to is dropped
//! by the kernel, and guessing needs the port besides the number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::Question;
use crate::resolv_conf::name_servers;

/// The port of name servers.
pub const PORT: u16 = 53;
/// The most resolvers that are asked for one question.
const MOST: usize = 2;
/// How long one may take: both together less than the 5 s after which the instance asks again.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest answer over UDP.
const MAX_ANSWER: usize = 4096;

/// The resolvers in the text of the board's `resolv.conf`, without the answerer itself.
#[must_use]
pub fn resolvers(resolv_conf: &str, own: Ipv4Addr) -> Vec<IpAddr> {
    name_servers(resolv_conf).filter(|address| *address != IpAddr::V4(own)).take(MOST).collect()
}

/// How the question came and the answer goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// A packet.
    Udp,
    /// A connection.
    Tcp,
}

/// Asks one resolver after the other; none when none answers in time.
pub async fn ask(resolvers: &[IpAddr], packet: &[u8], question: &Question<'_>, way: Way) -> Option<Vec<u8>> {
    for resolver in resolvers {
        let to = SocketAddr::new(*resolver, PORT);
        let answer = match way {
            Way::Udp => timeout(PATIENCE, by_packet(to, packet, question)).await,
            Way::Tcp => timeout(PATIENCE, by_connection(to, packet, question)).await,
        };
        if let Ok(Ok(answer)) = answer {
            return Some(answer);
        }
    }
    None
}

async fn by_packet(to: SocketAddr, packet: &[u8], question: &Question<'_>) -> io::Result<Vec<u8>> {
    let any: IpAddr = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(to).await?;
    socket.send(packet).await?;
    let mut answer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut answer).await?;
        if question.is_answered_by(&answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn by_connection(to: SocketAddr, packet: &[u8], question: &Question<'_>) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(to).await?;
    write(&mut stream, packet).await?;
    let answer = read(&mut stream, usize::from(u16::MAX)).await?;
    if question.is_answered_by(&answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Reads a message with its length before it, of at most `most` bytes.
///
/// # Errors
/// What reading says; `InvalidData` when it is longer.
pub async fn read(stream: &mut TcpStream, most: usize) -> io::Result<Vec<u8>> {
    let length = usize::from(stream.read_u16().await?);
    if length > most {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message with its length before it.
///
/// # Errors
/// What writing says; `InvalidInput` when it is longer than 65,535 bytes.
pub async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await
}

#[cfg(test)]
mod tests {
    use super::resolvers;
    use std::net::{IpAddr, Ipv4Addr};

    #[test]
    fn the_boards_resolvers_are_asked_but_never_the_answerer_itself() {
        let text = "# x\nnameserver 10.77.1.1\nnameserver 127.0.0.53\n nameserver ::1\nnameserver 10.0.0.1\nsearch a\n";
        let found = resolvers(text, Ipv4Addr::new(10, 77, 1, 1));
        assert_eq!(found, ["127.0.0.53".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert!(resolvers("", Ipv4Addr::LOCALHOST).is_empty());
    }
}
