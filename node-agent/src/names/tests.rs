//! The answerer on a real bridge, with an instance's cable on it and the board's resolver behind it.
//!
//! Two threads, each in a network namespace of its own: the board and the instance. Needs root and `ip`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use roost_allocation::{FirewallInstance, FirewallPlan};
use tokio::sync::watch;

use super::message::tests::asked;
use super::message::{A, read};
use super::serve;
use crate::testing::{Scratch, allocation, network};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// A question whose answer never comes.
const SILENT: &str = "silent.example";

fn plan() -> FirewallPlan {
    let instance = |n: u8, name: &str, project: &str| FirewallInstance {
        id: allocation(n),
        name: name.parse().unwrap(),
        project: project.parse().unwrap(),
        address: Ipv4Addr::new(10, 77, 1, n),
        publish: vec![],
    };
    let instances = vec![instance(11, "web", "shop"), instance(12, "db", "shop"), instance(13, "web", "blog")];
    FirewallPlan { network: network(), instances, names: Arc::default() }
}

fn ip(words: &str) {
    let output = Command::new("ip").args(words.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
}

fn leave() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
    ip("link set lo up");
}

fn bridge() {
    ip("link add roost0 type bridge");
    ip("addr add 10.77.1.1/24 dev roost0");
    ip("link set roost0 up");
}

/// The board's resolver: says the address 192.0.2.1 of everything, after a lie under another number.
fn resolver() {
    let answer = |packet: &[u8]| {
        let mut answer = packet.to_vec();
        (answer[2], answer[3], answer[7]) = (0x81, 0x80, 1);
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        answer
    };
    let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let packet = &buffer[..length];
            if read(packet).unwrap().name == SILENT {
                continue;
            }
            let mut lie = answer(packet);
            lie[0] ^= 0xFF;
            socket.send_to(&lie, from).unwrap();
            socket.send_to(&answer(packet), from).unwrap();
        }
    });
    let listener = TcpListener::bind("127.0.0.1:53").unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let packet = framed(&mut stream);
            // Longer than any packet.
            let long = [answer(&packet), vec![0; 20_000]].concat();
            let _ = stream.write_all(&u16::try_from(long.len()).unwrap().to_be_bytes());
            let _ = stream.write_all(&long);
        }
    });
}

fn framed(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message).unwrap();
    message
}

/// An instance's socket, which has one of its addresses.
fn socket(last: u8) -> UdpSocket {
    let socket = UdpSocket::bind(SocketAddr::new(Ipv4Addr::new(10, 77, 1, last).into(), 0)).unwrap();
    socket.connect((GATEWAY, 53)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// Code and, if it is an address, the answer.
fn told(answer: &[u8]) -> (u8, Option<Ipv4Addr>) {
    let address: Option<[u8; 4]> = (answer[7] == 1).then(|| answer[answer.len() - 4..].try_into().unwrap());
    (answer[3] & 0x0F, address.map(Ipv4Addr::from))
}

/// The next packet. A signal to the test's process (a child of another test ended) is no reason to stop waiting.
fn received(socket: &UdpSocket) -> std::io::Result<Vec<u8>> {
    let mut buffer = [0; 1500];
    loop {
        match socket.recv(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other.map(|length| buffer[..length].to_vec()),
        }
    }
}

fn ask(last: u8, name: &str) -> std::io::Result<(u8, Option<Ipv4Addr>)> {
    let socket = socket(last);
    socket.send(&asked(name, A))?;
    Ok(told(&received(&socket)?))
}

fn ask_by_connection(last: u8, name: &str) -> Vec<u8> {
    let stream = std::net::TcpStream::connect((GATEWAY, 53));
    let mut stream = stream.unwrap_or_else(|error| panic!("{last}: {error}"));
    let packet = asked(name, A);
    stream.write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes()).unwrap();
    stream.write_all(&packet).unwrap();
    framed(&mut stream)
}

fn until_answered(name: &str) -> Duration {
    let began = Instant::now();
    while ask(11, name).is_err() {
        assert!(began.elapsed() < Duration::from_secs(15), "{name} is not answered");
        thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn instances_are_answered_on_the_bridge_and_nobody_else_is() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let (tell_thread, thread_of) = mpsc::channel();
    let (tell_ready, ready) = mpsc::channel::<()>();
    let (tell_remake, remake) = mpsc::channel::<()>();
    let board = thread::spawn(move || {
        leave();
        bridge();
        let instance: i32 = thread_of.recv().unwrap();
        ip(&format!("link add rv01 type veth peer name eth0 netns {instance}"));
        ip("link set rv01 master roost0 up");
        ip(&format!("link add lan type veth peer name eth1 netns {instance}"));
        ip("addr add 192.168.9.1/24 dev lan");
        ip("link set lan up");
        resolver();
        let scratch = Scratch::new("resolv");
        let conf = scratch.path().join("resolv.conf");
        std::fs::write(&conf, "nameserver 10.77.1.1\nnameserver 127.0.0.1\n").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let plans = watch::Sender::new(Some(Arc::new(plan())));
        runtime.spawn(serve(plans.subscribe(), conf));
        tell_ready.send(()).unwrap();
        runtime.block_on(async {
            while remake.try_recv().is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            ip("link del roost0");
            bridge();
            ip("link set rv01 master roost0");
            tell_ready.send(()).unwrap();
            // Until the instance is done.
            while remake.try_recv() != Err(mpsc::TryRecvError::Disconnected) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    });
    let instance = thread::spawn(move || {
        leave();
        tell_thread.send(nix::unistd::gettid().as_raw()).unwrap();
        ready.recv().unwrap();
        ["11", "12", "13", "99"].iter().for_each(|last| ip(&format!("addr add 10.77.1.{last}/24 dev eth0")));
        ip("link set eth0 up");
        until_answered("web");

        let at = |last| Some(Ipv4Addr::new(10, 77, 1, last));
        assert_eq!(ask(11, "db.shop.roost.internal").unwrap(), (0, at(12)));
        assert_eq!(ask(13, "web").unwrap(), (0, at(13)), "the asker's own project counts");
        assert_eq!(ask(13, "db").unwrap(), (3, None));
        assert_eq!(ask(99, "web").unwrap(), (5, None), "an address that is no instance's is refused");
        assert_eq!(told(&ask_by_connection(11, "web")), (0, at(11)));

        assert_eq!(ask(11, "example.com").unwrap(), (0, Some(Ipv4Addr::new(192, 0, 2, 1))), "and no lie is believed");
        assert!(ask_by_connection(11, "example.com").len() > 20_000);
        let began = Instant::now();
        assert_eq!(ask(11, SILENT).unwrap(), (2, None));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());

        // One instance's flood is refused beyond its share, and another's question has its turn.
        let flood = socket(11);
        (0..100).for_each(|_| drop(flood.send(&asked(SILENT, A))));
        flood.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let refused = (0..100).take_while(|_| received(&flood).is_ok()).count();
        assert_eq!(refused, 84, "16 wait");
        assert_eq!(ask(13, "example.com").unwrap().0, 0);

        // From elsewhere, by another of the board's interfaces.
        ip("addr add 192.168.9.2/24 dev eth1");
        ip("link set eth1 up");
        ip("route add 10.77.1.1 via 192.168.9.1 src 192.168.9.2");
        let other = UdpSocket::bind("192.168.9.2:0").unwrap();
        other.connect((GATEWAY, 53)).unwrap();
        other.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        other.send(&asked("web", A)).unwrap();
        assert!(received(&other).is_err(), "only the bridge is answered");
        ip("route del 10.77.1.1");

        tell_remake.send(()).unwrap();
        ready.recv().unwrap();
        let took = until_answered("web");
        assert!(took < Duration::from_secs(10), "after the bridge was made anew: {took:?}");
        drop(tell_remake);
    });
    instance.join().unwrap();
    board.join().unwrap();
}
