//! `agent probe`: what this machine is, and which of the hub's addresses can be reached from here.

use crate::{
    guest::answers::HubReach,
    host::{self, Machine},
    model::{Failure, facts::Facts, version::version},
};
use serde::Serialize;
use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

/// How long one address may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The most addresses of one name that are tried.
const MOST: usize = 4;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Found {
    version: &'static str,
    facts: Facts,
    hubs: Vec<HubReach>,
}

/// `agent probe [--hub HOST:PORT]... [--json]`.
pub fn probe(hubs: &[String], json: bool) -> Result<(), Failure> {
    let found = look(&Machine::here(), hubs);
    if json {
        let text = serde_json::to_string(&found).map_err(|error| Failure::of("printing", &error))?;
        println!("{text}");
        return Ok(());
    }
    let Facts { hostname, os, init, arch, addresses, .. } = &found.facts;
    println!("{hostname}: {}, {arch}, {init}, {}", os.label(), addresses.join(" "));
    for HubReach { address, why, ms, .. } in &found.hubs {
        match why {
            None => println!("hub {address} answers ({ms} ms)"),
            Some(error) => println!("hub {address} does not answer: {error}"),
        }
    }
    Ok(())
}

/// Looks at a machine, and tries these addresses.
pub fn look(machine: &Machine, hubs: &[String]) -> Found {
    Found { version: version(), facts: host::facts(machine), hubs: hubs.iter().map(|address| reach(address)).collect() }
}

/// Tries the addresses that a name has, one after the other.
fn reach(address: &str) -> HubReach {
    let begun = Instant::now();
    let connected = match address.to_socket_addrs() {
        Err(error) => Err(format!("its name can't be looked up: {error}")),
        Ok(found) => connect(found),
    };
    HubReach {
        address: address.to_owned(),
        reached: connected.is_ok(),
        why: connected.err(),
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

fn connect(found: impl Iterator<Item = SocketAddr>) -> Result<(), String> {
    let mut why = "its name has no address".to_owned();
    for address in found.take(MOST) {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => why = named(&error),
        }
    }
    Err(why)
}

/// What the kernel's word means for whoever has to mend it.
fn named(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => {
            format!("no answer within {} s: a firewall drops it, or nothing is there", TIMEOUT.as_secs())
        }
        ErrorKind::ConnectionRefused => "connection refused: nothing listens there, or a firewall says no".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            "no route to it from the guest: has it an address and a gateway?".to_owned()
        }
        // What the kernel says of a blackhole, and of a route that prohibits.
        ErrorKind::InvalidInput => "a route in the guest leads nowhere (blackhole)".to_owned(),
        ErrorKind::PermissionDenied => "a route or firewall in the guest forbids it".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn why_an_address_does_not_answer_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().to_string();
        assert!(reach(&open).reached && reach(&open).why.is_none());
        drop(listener);
        let why = |address: &str| reach(address).why.unwrap();
        assert!(why(&open).starts_with("connection refused"), "{}", why(&open));
        assert!(why("name.invalid:8443").starts_with("its name can't be looked up"), "{}", why("name.invalid:8443"));
        for (kind, wanted) in [
            (ErrorKind::TimedOut, "no answer within 3 s"),
            (ErrorKind::InvalidInput, "leads nowhere"),
            (ErrorKind::HostUnreachable, "no route"),
            (ErrorKind::PermissionDenied, "forbids it"),
        ] {
            assert!(named(&io::Error::from(kind)).contains(wanted), "{kind}");
        }
    }

    #[test]
    fn a_name_s_other_addresses_are_tried_too() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert_eq!(connect([closed, there].into_iter()), Ok(()));
        assert!(connect(std::iter::empty()).is_err());
    }
}
