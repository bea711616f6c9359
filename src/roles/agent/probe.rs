//! `agent probe`: what this machine is, and which of the hub's addresses can be reached from here.

use crate::{
    guest::answers::HubReach,
    host::{self, Machine},
    model::{Failure, facts::Facts, version::version},
};
use serde::Serialize;
use std::{
    net::{TcpStream, ToSocketAddrs as _},
    time::{Duration, Instant},
};

/// How long one address may take.
const TIMEOUT: Duration = Duration::from_secs(3);

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

fn reach(address: &str) -> HubReach {
    let begun = Instant::now();
    let connected = address.to_socket_addrs().and_then(|mut found| {
        let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        TcpStream::connect_timeout(&found.next().ok_or_else(none)?, TIMEOUT)
    });
    HubReach {
        address: address.to_owned(),
        reached: connected.is_ok(),
        why: connected.err().map(|error| error.to_string()),
        ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
