//! Published ports over UDP.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::Method;
use roost_tests::rack::Rack;
use roost_tests::{port_to_publish, until};
use serde_json::json;

use super::{Udp, launch};

/// Says everything back, once the program is there.
const ECHO: &str = "until test -s /bin/udp && test -x /bin/udp; do sleep 0.1; done; exec udp echo 7";

fn echoed(to: SocketAddr) -> Result<Option<()>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    socket.connect(to)?;
    socket.send(b"hello")?;
    let mut buffer = [0; 100];
    Ok(socket.recv(&mut buffer).is_ok_and(|length| &buffer[..length] == b"hello").then_some(()))
}

pub fn udp_answers_from_everywhere(rack: &Rack, udp: &Udp) -> Result<()> {
    let port = port_to_publish();
    let publish = format!("{port}:7/udp");
    launch(rack, "default", "echo", "n01", &["--publish", &publish], &["sh", "-c", ECHO])?;
    udp.put_into(rack, "echo")?;
    let board = rack.api.node("n01")?.address.context("n01 has no address")?;
    until("the board's port answers the host", || echoed((board, port).into()))?;
    until("127.0.0.1 answers the host", || echoed((Ipv4Addr::LOCALHOST, port).into()))?;
    let (address, port) = (board.to_string(), port.to_string());
    for from in ["n01", "n02"] {
        until(&format!("the board's port answers {from}"), || {
            let said = rack.on_board(from, &[udp.path()?, "ask", "0", &address, &port, "hello"])?;
            Ok((said.stdout == "hello\n").then_some(()))
        })?;
    }
    for on in ["n01", "n02"] {
        let client = format!("client-{on}.shop");
        launch(rack, "shop", &format!("client-{on}"), on, &[], &["sleep", "1000"])?;
        udp.put_into(rack, &client)?;
        until(&format!("an instance of another project on {on} gets an answer"), || {
            let said = rack.run(&["exec", &client, "--", "udp", "ask", "0", &address, &port, "hello"])?;
            Ok((said.stdout == "hello\n").then_some(()))
        })?;
    }
    Ok(())
}

pub fn two_of_one_port_collide_unless_the_protocol_differs(rack: &Rack) -> Result<()> {
    let port = port_to_publish();
    let wanted = |name: &str, publish: &str| {
        let body = json!({"image": "busybox", "name": name, "publish": [publish], "constraints": {"node": "n01"},
            "command": ["sleep", "1000"]});
        rack.api.send(Method::POST, "/v1/instances", Some(body.to_string()))
    };
    let udp = format!("{port}:7/udp");
    ensure!(wanted("first", &udp)?.status == 202);
    let second = wanted("second", &udp)?;
    ensure!(second.status == 409 && second.json()?["code"] == "port_taken", "{}", second.body);
    ensure!(wanted("tcp", &format!("{port}:7"))?.status == 202, "TCP and UDP are ports of their own");
    Ok(())
}
