//! `system.ports`: listening sockets and the processes that hold them.

use crate::{
    host::{Machine, text::clean},
    model::Outcome,
};
use serde::Serialize;
use serde_json::json;
use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// The kernel's number of a TCP socket that listens, and of a UDP socket that is bound and not connected.
const LISTENING: (&str, &str) = ("0A", "07");

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Socket {
    port: u16,
    protocol: &'static str,
    address: IpAddr,
    #[serde(skip)]
    inode: u64,
    pid: Option<u32>,
    process: String,
}

/// Listening sockets and who owns them.
pub fn ports(machine: &Machine) -> Outcome {
    let mut sockets = Vec::new();
    for (file, protocol, state) in [
        ("tcp", "tcp", LISTENING.0),
        ("tcp6", "tcp", LISTENING.0),
        ("udp", "udp", LISTENING.1),
        ("udp6", "udp", LISTENING.1),
    ] {
        sockets.extend(parse(&machine.text(&format!("/proc/net/{file}")), protocol, state));
    }
    let owners = owners(machine);
    for socket in &mut sockets {
        if let Some(pid) = owners.get(&socket.inode) {
            socket.pid = Some(*pid);
            socket.process = clean(&machine.text(&format!("/proc/{pid}/comm")));
        }
    }
    sockets.sort();
    let mut named: Vec<String> = sockets
        .iter()
        .filter(|socket| socket.protocol == "tcp" && !socket.address.is_loopback())
        .map(|socket| format!("{} {}", socket.port, socket.process).trim_end().to_owned())
        .collect();
    named.dedup();
    let more = named.len().saturating_sub(12);
    named.truncate(12);
    let mut summary = match &named[..] {
        [] => "nothing listens on TCP for others".to_owned(),
        named => format!("listening on TCP for others: {}", named.join(", ")),
    };
    if more > 0 {
        summary = format!("{summary} and {more} more");
    }
    Outcome::success(summary).with_data(json!({ "sockets": sockets }))
}

/// The sockets of one of /proc/net/{tcp,tcp6,udp,udp6} in a state.
fn parse(text: &str, protocol: &'static str, state: &str) -> Vec<Socket> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (address, port) = fields.get(1)?.split_once(':')?;
            (*fields.get(3)? == state).then_some(())?;
            Some(Socket {
                port: u16::from_str_radix(port, 16).ok()?,
                protocol,
                address: ip(address)?,
                inode: fields.get(9)?.parse().ok()?,
                pid: None,
                process: String::new(),
            })
        })
        .collect()
}

/// An address as the kernel prints it: each 32 bits in the machine's own byte order.
fn ip(hex: &str) -> Option<IpAddr> {
    let word = |start: usize| Some(u32::from_str_radix(hex.get(start..start + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(IpAddr::V4(Ipv4Addr::from(word(0)?))),
        32 => {
            let bytes = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?);
            Some(address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4))
        }
        _ => None,
    }
}

/// The processes that hold sockets, by the sockets' inodes; those of others are seen only as root.
fn owners(machine: &Machine) -> HashMap<u64, u32> {
    let mut owners = HashMap::new();
    for pid in machine.system().pids() {
        for inode in machine.system().sockets(pid) {
            // The parent has the lower number and is the one that people know.
            let owner = owners.entry(inode).or_insert(pid);
            *owner = pid.min(*owner);
        }
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
       0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 0 100 0 0 10 0\n\
       1: 0100007F:9C40 0100007F:1F90 01 00000000:00000000 00:00000000 00000000     0        0 4243 1 0 20 4 30 10 -1\n";

    #[test]
    #[cfg(target_endian = "little")]
    fn only_listening_sockets_count() {
        let sockets = parse(TCP, "tcp", LISTENING.0);
        assert_eq!(sockets.len(), 1);
        assert_eq!(
            (sockets[0].port, sockets[0].address.to_string().as_str(), sockets[0].inode),
            (8080, "127.0.0.1", 4242)
        );
        assert_eq!(ip("00000000000000000000000001000000").unwrap().to_string(), "::1");
        assert_eq!(ip("0000000000000000FFFF00000100007F").unwrap().to_string(), "127.0.0.1");
        assert_eq!(ip("xyz"), None);
    }

    #[test]
    fn a_socket_of_this_process_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let outcome = ports(&Machine::here());
        let sockets = outcome.data["sockets"].as_array().unwrap();
        let own = sockets.iter().find(|socket| socket["port"] == port).unwrap();
        assert_eq!(own["pid"], std::process::id());
    }
}
