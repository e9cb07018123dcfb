//! The answerer's sockets: bound to the bridge and its address for as long as both stay what they are.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use roost_allocation::FirewallPlan;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::directory::{Verdict, judge};
use super::message::{self, Code, MAX_QUESTION, Question, Unfit};
use super::turns::Turns;
use super::upstream::{self, PORT, Way};
use crate::firewall::BRIDGE;

/// How often it is looked whether the bridge is still the one that the sockets are bound to.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The pause before binding what is about to be there: the bridge comes a moment after the first plan.
const MOMENT: Duration = Duration::from_millis(100);
/// The pause before binding again what could not be bound.
const PAUSE: Duration = Duration::from_secs(1);
/// Questions passed on at once: each holds a socket and 4 KiB.
const MOST_QUESTIONS: usize = 64;
/// Questions passed on at once for one instance.
const MOST_QUESTIONS_OF_ONE: usize = 16;
/// Connections at once: each holds up to 64 KiB of answer.
const MOST_CONNECTIONS: usize = 16;
/// Connections at once of one instance.
const MOST_CONNECTIONS_OF_ONE: usize = 4;
/// How long a connection may say nothing, or take nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 16;

/// What the answerer knows: the newest plan, none before the first desired set.
pub type Plans = watch::Receiver<Option<Arc<FirewallPlan>>>;

/// Where it listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    gateway: Ipv4Addr,
    /// The bridge's number: another one when it was made anew.
    bridge: u32,
}

/// What all questions share.
struct Answerer {
    plans: Plans,
    /// Names the board's own resolvers.
    resolv_conf: PathBuf,
    questions: Arc<Turns>,
    connections: Arc<Turns>,
}

/// Answers for ever; what is not there yet is waited for. `resolv_conf` names the board's own resolvers.
pub async fn serve(plans: Plans, resolv_conf: PathBuf) {
    let answerer = Arc::new(Answerer {
        plans,
        resolv_conf,
        questions: Turns::new(MOST_QUESTIONS, MOST_QUESTIONS_OF_ONE),
        connections: Turns::new(MOST_CONNECTIONS, MOST_CONNECTIONS_OF_ONE),
    });
    let mut failing = false;
    loop {
        let Some(place) = answerer.place() else {
            sleep(MOMENT).await;
            continue;
        };
        match bind(place.gateway).await {
            Ok((packets, connections)) => {
                failing = false;
                tracing::debug!(address = %place.gateway, "answers names");
                tokio::select! {
                    () = answerer.clone().answer_packets(packets) => {}
                    () = answerer.clone().answer_connections(connections) => {}
                    () = answerer.while_at(place) => {}
                }
                sleep(MOMENT).await;
            }
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => sleep(MOMENT).await,
            Err(error) => {
                if !failing {
                    failing = true;
                    tracing::warn!(
                        address = %place.gateway, %error,
                        "cannot answer names: port 53 of the instances' bridge must be free"
                    );
                }
                sleep(PAUSE).await;
            }
        }
    }
}

async fn bind(gateway: Ipv4Addr) -> io::Result<(UdpSocket, TcpListener)> {
    let address = SocketAddr::new(IpAddr::V4(gateway), PORT);
    let packets = UdpSocket::bind(address).await?;
    packets.bind_device(Some(BRIDGE.as_bytes()))?;
    let connections = TcpSocket::new_v4()?;
    connections.set_reuseaddr(true)?;
    connections.bind_device(Some(BRIDGE.as_bytes()))?;
    connections.bind(address)?;
    Ok((packets, connections.listen(BACKLOG)?))
}

impl Answerer {
    fn plan(&self) -> Option<Arc<FirewallPlan>> {
        self.plans.borrow().clone()
    }

    fn place(&self) -> Option<Place> {
        let gateway = self.plan()?.network.gateway;
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None).ok()?;
        let bridge = rustix::net::netdevice::name_to_index(&socket, BRIDGE).ok()?;
        Some(Place { gateway, bridge })
    }

    /// Returns when the bridge or its address is another one.
    async fn while_at(&self, place: Place) {
        while self.place() == Some(place) {
            sleep(LOOK_EVERY).await;
        }
    }

    /// Returns when the socket is of no use any more.
    async fn answer_packets(self: Arc<Self>, socket: UdpSocket) {
        let socket = Arc::new(socket);
        // One byte more shows what is too long.
        let mut buffer = [0; MAX_QUESTION + 1];
        loop {
            let (length, from) = match socket.recv_from(&mut buffer).await {
                Ok((length, SocketAddr::V4(from))) if length <= MAX_QUESTION => (length, from),
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(_) => return,
            };
            let packet = &buffer[..length];
            match self.first(packet, *from.ip()) {
                First::Answer(answer) => {
                    // A packet that is lost is asked again.
                    let _ = socket.try_send_to(&answer, from.into());
                }
                First::Forward => {
                    let (answerer, socket, packet) = (self.clone(), socket.clone(), packet.to_vec());
                    tokio::spawn(async move {
                        if let Some(answer) = answerer.forward(&packet, *from.ip(), Way::Udp).await {
                            let _ = socket.send_to(&answer, from).await;
                        }
                    });
                }
                First::Silence => {}
            }
        }
    }

    /// Returns when the socket is of no use any more.
    async fn answer_connections(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, from)) = listener.accept().await {
            let SocketAddr::V4(from) = from else { continue };
            let Some(turn) = self.connections.take(*from.ip()) else { continue };
            let answerer = self.clone();
            tokio::spawn(async move {
                let _turn = turn;
                // Whatever ends the conversation ends the connection.
                let _ = answerer.converse(stream, *from.ip()).await;
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream, from: Ipv4Addr) -> io::Result<()> {
        loop {
            let packet = timeout(SILENCE, upstream::read(&mut stream, MAX_QUESTION)).await??;
            let answer = match self.first(&packet, from) {
                First::Answer(answer) => Some(answer),
                First::Forward => self.forward(&packet, from, Way::Tcp).await,
                First::Silence => None,
            };
            let answer = answer.ok_or(io::ErrorKind::InvalidData)?;
            timeout(SILENCE, upstream::write(&mut stream, &answer)).await??;
        }
    }

    /// What can be said at once.
    fn first(&self, packet: &[u8], from: Ipv4Addr) -> First {
        let question = match message::read(packet) {
            Ok(question) => question,
            Err(Unfit::Silence) => return First::Silence,
            Err(Unfit::Told { id, code }) => return First::Answer(message::refusal(id, code)),
        };
        let Some(plan) = self.plan() else { return First::Silence };
        match judge(&plan, from, &question) {
            None => First::Answer(question.answer(Code::Refused, None)),
            Some(Verdict::Answer(code, record)) => First::Answer(question.answer(code, record.as_ref())),
            Some(Verdict::Forward) => First::Forward,
        }
    }

    /// What others say, or that they say nothing.
    async fn forward(&self, packet: &[u8], from: Ipv4Addr, way: Way) -> Option<Vec<u8>> {
        let question = message::read(packet).ok()?;
        let failure = |question: &Question<'_>| Some(question.answer(Code::Failure, None));
        let (Some(plan), Some(_turn)) = (self.plan(), self.questions.take(from)) else { return failure(&question) };
        let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
        let resolvers = upstream::resolvers(&text, plan.network.gateway);
        upstream::ask(&resolvers, packet, &question, way).await.or_else(|| failure(&question))
    }
}

/// What becomes of a message at once.
enum First {
    /// This is sent.
    Answer(Vec<u8>),
    /// Others are asked.
    Forward,
    /// Nothing is said.
    Silence,
}
