//! What an instance that has every privilege in its own network can make others believe: nothing.
//!
//! The attacks are run by the test itself in the attacker's network namespace, with more privileges than any process
//! inside has.

use anyhow::{Context, Result, ensure};
use roost_tests::rack::Rack;
use roost_tests::until;
use roost_types::Instance;

use super::{Udp, fetched, launch, serve};

struct Pair {
    evil: Instance,
    victim: Instance,
}

/// Two instances of one project on one board, which reach each other.
fn pair(rack: &Rack) -> Result<Pair> {
    let evil = serve(rack, "default", "evil", "n01", &[])?;
    let victim = serve(rack, "default", "victim", "n01", &[])?;
    let pair = Pair { evil, victim };
    until("they reach each other", || Ok(pair.reached(rack)?.then_some(())))?;
    Ok(pair)
}

impl Pair {
    fn reached(&self, rack: &Rack) -> Result<bool> {
        let address = self.victim.address.context("no address")?.to_string();
        Ok(fetched(rack, &self.evil, &address)?.is_some())
    }

    fn attack(&self, rack: &Rack, words: &str) -> Result<()> {
        let words: Vec<&str> = words.split(' ').collect();
        let said = rack.in_netns_of(&self.evil, &words)?;
        ensure!(said.code == 0, "{words:?}: {said:?}");
        Ok(())
    }
}

pub fn another_source_address_is_dropped(rack: &Rack) -> Result<()> {
    let pair = pair(rack)?;
    let own = pair.evil.address.context("no address")?;
    pair.attack(rack, "ip address add 10.77.1.200/24 dev eth0")?;
    pair.attack(rack, "ip route replace 10.77.1.0/24 dev eth0 src 10.77.1.200")?;
    ensure!(!pair.reached(rack)?, "an address that is not its own gets answers");
    pair.attack(rack, &format!("ip route replace 10.77.1.0/24 dev eth0 src {own}"))?;
    until("its own address still works", || Ok(pair.reached(rack)?.then_some(())))
}

pub fn another_hardware_address_is_dropped(rack: &Rack) -> Result<()> {
    let pair = pair(rack)?;
    let change = |to: &str| -> Result<()> {
        pair.attack(rack, "ip link set eth0 down")?;
        pair.attack(rack, &format!("ip link set eth0 address {to}"))?;
        pair.attack(rack, "ip link set eth0 up")
    };
    let own = rack.in_netns_of(&pair.evil, &["cat", "/proc/net/arp"])?;
    let link = rack.roost(&["exec", "evil", "--", "cat", "/sys/class/net/eth0/address"])?;
    change("02:00:00:00:00:99")?;
    ensure!(!pair.reached(rack)?, "a hardware address that is not its own gets answers ({own:?})");
    change(link.trim())?;
    until("its own hardware address still works", || Ok(pair.reached(rack)?.then_some(())))
}

pub fn nobody_speaks_for_the_gateway(rack: &Rack) -> Result<()> {
    let pair = pair(rack)?;
    let neighbour = |what: &str| -> Result<String> {
        let said = rack.in_netns_of(&pair.victim, &["ip", "neighbour", "show", what])?;
        Ok(said.stdout)
    };
    // The victim knows its gateway and its neighbour.
    let own = pair.evil.address.context("no address")?.to_string();
    ensure!(fetched(rack, &pair.victim, &own)?.is_some());
    rack.in_netns_of(&pair.victim, &["busybox", "ping", "-c", "1", "-W", "2", "10.77.1.1"])?;
    let before = neighbour("10.77.1.1")?;
    ensure!(before.contains("lladdr 02:52:0a:4d:01:01"), "the gateway is {before}");
    pair.attack(rack, "ip address add 10.77.1.1/32 dev eth0")?;
    // Announced again and again; that nobody answers is no failure of the attack.
    for flags in ["-U", "-A"] {
        rack.in_netns_of(&pair.evil, &["busybox", "arping", flags, "-c", "3", "-I", "eth0", "10.77.1.1"])?;
    }
    rack.in_netns_of(&pair.victim, &["busybox", "ping", "-c", "1", "-W", "2", "10.77.1.1"])?;
    let after = neighbour("10.77.1.1")?;
    ensure!(after.contains("lladdr 02:52:0a:4d:01:01"), "the gateway became {after}");
    Ok(())
}

pub fn nobody_is_a_dhcp_server_or_a_router(rack: &Rack, udp: &Udp) -> Result<()> {
    let pair = pair(rack)?;
    // The program comes a moment after the command that waits for it.
    let hear = "until test -s /bin/udp && test -x /bin/udp; do sleep 0.1; done; exec udp hear 68";
    let client = launch(rack, "default", "client", "n01", &[], &["sh", "-c", hear])?;
    udp.put_into(rack, "client")?;
    let address = client.address.context("no address")?.to_string();
    let send = |from: &str, text: &str| rack.in_netns_of(&pair.evil, &[udp.path()?, "ask", from, &address, "68", text]);
    until("what is no offer arrives", || {
        send("67", "offer")?;
        send("9067", "other")?;
        let heard = rack.roost(&["logs", "client"])?;
        ensure!(!heard.contains("offer"), "a DHCP server's answer arrived");
        Ok(heard.contains("other").then_some(()))
    })?;

    // IPv6 is not carried: neither advertisements of routers nor anything else, even for one who turns it on.
    let setting = "/proc/sys/net/ipv6/conf/eth0/disable_ipv6";
    let disabled = rack.roost(&["exec", "victim", "--", "cat", setting])?;
    ensure!(disabled == "1\n", "disable_ipv6 is {disabled}");
    for one in [&pair.victim, &pair.evil] {
        let said = rack.in_netns_of(one, &["sh", "-c", &format!("echo 0 > {setting}")])?;
        ensure!(said.code == 0, "{said:?}");
    }
    let received = || -> Result<String> {
        let said = rack.in_netns_of(&pair.victim, &["cat", "/proc/net/dev_snmp6/eth0"])?;
        ensure!(said.code == 0, "{said:?}");
        let line = said.stdout.lines().find(|line| line.starts_with("Ip6InReceives"));
        Ok(line.context("no Ip6InReceives")?.to_owned())
    };
    let before = received()?;
    until("its address is found to be nobody else's", || {
        let sent = rack.in_netns_of(&pair.evil, &["busybox", "ping", "-6", "-c", "2", "-W", "1", "ff02::1%eth0"])?;
        Ok(sent.stdout.contains("2 packets transmitted").then_some(()))
    })?;
    ensure!(received()? == before, "IPv6 arrived: {before}");
    Ok(())
}
