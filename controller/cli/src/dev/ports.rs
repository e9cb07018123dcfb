//! Published ports on 127.0.0.1: each leads to the board that the newest owner of the port runs on.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use roost_types::instance::Transport;
use roost_types::{Instance, InstanceState, Node};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::Client;
use crate::error::CliError;

/// A UDP conversation that was silent so long is forgotten.
const UDP_SILENCE: Duration = Duration::from_secs(60);
/// Pause before the event stream is opened again.
const RETRY: Duration = Duration::from_secs(1);

/// Events come in bursts; the port must still be there when the launch that published it is reported done.
const SETTLE: Duration = Duration::from_millis(2);

type Port = (u16, Transport);

/// Follows the cluster for ever.
pub async fn follow(client: Client) {
    let mut forwarders = Forwarders::default();
    let mut told = String::new();
    loop {
        // The controller may be starting again; what is forwarded stays until it answers.
        let Err(error) = follow_once(&client, &mut forwarders).await;
        let text = error.to_string();
        if !matches!(error, CliError::Unreachable { .. }) && text != told {
            eprintln!("published ports: {text}");
            told = text;
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn follow_once(client: &Client, forwarders: &mut Forwarders) -> Result<Infallible, CliError> {
    let request = client.request(reqwest::Method::GET, "/v1/events").header("Accept", "text/event-stream");
    let mut stream = client.send(request).await?.bytes_stream();
    loop {
        let instances: Vec<Instance> = client.list("/v1/instances").await?;
        let nodes: Vec<Node> = client.list("/v1/nodes").await?;
        forwarders.apply(owners(&instances, &nodes));
        match stream.next().await {
            Some(Ok(_)) => tokio::time::sleep(SETTLE).await,
            Some(Err(e)) => return Err(client.unreachable(&e)),
            None => {
                return Err(CliError::Unreachable { url: client.url().to_owned(), reason: "the events ended".into() });
            }
        }
    }
}

/// Where each published port leads: to the running instance that started last, or, where none runs, to the one that is
/// about to.
fn owners(instances: &[Instance], nodes: &[Node]) -> BTreeMap<Port, SocketAddr> {
    let address = |instance: &Instance| {
        let node = nodes.iter().find(|node| Some(&node.name) == instance.node.as_ref())?;
        node.address
    };
    let runs = |i: &Instance| i.state == InstanceState::Running;
    let mut holders: Vec<&Instance> =
        instances.iter().filter(|i| runs(i) || i.state == InstanceState::Starting).collect();
    holders.sort_by_key(|i| (runs(i), i.started_at, i.id));
    let mut owners = BTreeMap::new();
    for instance in holders {
        let Some(address) = address(instance) else { continue };
        for publish in &instance.publish {
            let target = publish.host_ip.filter(|ip| !ip.is_unspecified()).unwrap_or(address);
            owners.insert((publish.host, publish.transport), SocketAddr::new(IpAddr::V4(target), publish.host));
        }
    }
    owners
}

/// The open ports.
#[derive(Default)]
struct Forwarders(BTreeMap<Port, (watch::Sender<SocketAddr>, JoinHandle<()>)>);

impl Forwarders {
    fn apply(&mut self, owners: BTreeMap<Port, SocketAddr>) {
        self.0.retain(|port, (_, task)| {
            let keep = owners.contains_key(port);
            if !keep {
                task.abort();
            }
            keep
        });
        for (port, target) in owners {
            match self.0.get(&port) {
                Some((to, _)) => {
                    to.send_if_modified(|old| std::mem::replace(old, target) != target);
                }
                None => {
                    let (to, targets) = watch::channel(target);
                    let task = tokio::spawn(async move {
                        let ended = match port.1 {
                            Transport::Tcp => forward_tcp(port.0, targets).await,
                            Transport::Udp => forward_udp(port.0, targets).await,
                        };
                        if let Err(error) = ended {
                            eprintln!("published port {} is not on 127.0.0.1: {error}", port.0);
                        }
                    });
                    self.0.insert(port, (to, task));
                }
            }
        }
    }
}

async fn forward_tcp(port: u16, targets: watch::Receiver<SocketAddr>) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    loop {
        let (mut near, _) = listener.accept().await?;
        let target = *targets.borrow();
        tokio::spawn(async move {
            // A board that does not answer closes the connection, as its own port would.
            if let Ok(mut far) = TcpStream::connect(target).await {
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

async fn forward_udp(port: u16, targets: watch::Receiver<SocketAddr>) -> std::io::Result<()> {
    let near = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).await?);
    let mut peers: BTreeMap<SocketAddr, (Arc<UdpSocket>, JoinHandle<()>)> = BTreeMap::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let (length, from) = near.recv_from(&mut buffer).await?;
        peers.retain(|_, (_, task)| !task.is_finished());
        let target = *targets.borrow();
        let far = match peers.get(&from) {
            Some((far, _)) => Arc::clone(far),
            None => {
                let far = Arc::new(UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?);
                let task = tokio::spawn(answer(Arc::clone(&far), Arc::clone(&near), from));
                peers.insert(from, (Arc::clone(&far), task));
                far
            }
        };
        // A datagram may be lost: that is what UDP promises.
        let _ = far.send_to(&buffer[..length], target).await;
    }
}

/// Carries answers back until both were silent.
async fn answer(far: Arc<UdpSocket>, near: Arc<UdpSocket>, to: SocketAddr) {
    let mut buffer = vec![0; 65_536];
    while let Ok(Ok((length, _))) = tokio::time::timeout(UDP_SILENCE, far.recv_from(&mut buffer)).await {
        let _ = near.send_to(&buffer[..length], to).await;
    }
}
