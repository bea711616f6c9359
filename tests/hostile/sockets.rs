//! Connections that are slow, many, or say what nobody asked for.

use super::{
    PATIENCE,
    common::{Agent, Hub},
};
use remotectl::link::wire::AgentRole;
use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

#[test]
fn many_headers_and_slow_ones_are_cut_off() {
    let hub = Hub::start();
    let address: SocketAddr = hub.address.parse().unwrap();
    // Not TLS at all: the handshake ends it.
    let mut plain = TcpStream::connect(address).unwrap();
    plain.write_all(b"GET /api/v1/hub HTTP/1.1\r\n\r\n").unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).ok();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    let names: Vec<String> = (0..80).map(|n| format!("x-{n}")).collect();
    let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
    let status = hub.tls().send("GET", "/api/v1/hub", &many, b"", PATIENCE).map(|reply| reply.status);
    assert!(matches!(status, Ok(431 | 400) | Err(_)), "{status:?}");
}

/// 2,000 connections that say nothing, from 63 addresses, on a hub that was started with room for 1,024 files: it makes
/// room, and whoever has something to say is served meanwhile.
#[test]
fn two_thousand_idle_sockets_hold_nobody_up() {
    let hub = Hub::start_with_open_files(1024);
    assert!(hub.open_files() > 4096, "it may open {} files", hub.open_files());
    let agent = Agent::join(&hub, AgentRole::Agent, "host/box");
    hub.wait_online(&agent.target);
    let to: SocketAddr = hub.address.parse().unwrap();
    let idle: Vec<TcpStream> = (0..2000)
        .filter_map(|n: u32| connect_from(Ipv4Addr::new(127, 0, 1, u8::try_from(n % 63).unwrap() + 1), to))
        .collect();
    assert!(idle.len() >= 1900, "{} connections", idle.len());
    let mut took: Vec<Duration> = (0..100)
        .map(|_| {
            let start = Instant::now();
            hub.run("exec.run", "host/box", &[("command", "/bin/true")]).unwrap();
            start.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[98] < Duration::from_secs(1), "p99 is {:?}", took[98]);
    // A newcomer gets through too.
    let late = Agent::join(&hub, AgentRole::Agent, "host/late");
    hub.wait_online(&late.target);
    drop(idle);
}

fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Option<TcpStream> {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).ok()?;
    bind(&socket, &SocketAddr::from((from, 0))).ok()?;
    connect(&socket, &to).ok()?;
    Some(TcpStream::from(socket))
}
