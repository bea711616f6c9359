//! `agent probe`: what this machine is, and which of the hub's addresses can be reached from here.

use crate::{
    host,
    model::{Failure, facts::Facts},
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
struct Found {
    version: &'static str,
    facts: Facts,
    hubs: Vec<Reach>,
}

/// Whether an address answers.
#[derive(Debug, Serialize)]
struct Reach {
    address: String,
    reached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    took_ms: u64,
}

/// `agent probe [--hub HOST:PORT]... [--json]`.
pub fn probe(hubs: &[String], json: bool) -> Result<(), Failure> {
    let found = Found {
        version: env!("CARGO_PKG_VERSION"),
        facts: host::facts(),
        hubs: hubs.iter().map(|address| reach(address)).collect(),
    };
    if json {
        let text = serde_json::to_string(&found).map_err(|error| Failure::of("printing", &error))?;
        println!("{text}");
        return Ok(());
    }
    let Facts { hostname, os, init, arch, addresses, .. } = &found.facts;
    println!("{hostname}: {}, {arch}, {init}, {}", os.label(), addresses.join(" "));
    for Reach { address, error, took_ms, .. } in &found.hubs {
        match error {
            None => println!("hub {address} answers ({took_ms} ms)"),
            Some(error) => println!("hub {address} does not answer: {error}"),
        }
    }
    Ok(())
}

fn reach(address: &str) -> Reach {
    let begun = Instant::now();
    let connected = address.to_socket_addrs().and_then(|mut found| {
        let none = || std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
        TcpStream::connect_timeout(&found.next().ok_or_else(none)?, TIMEOUT)
    });
    Reach {
        address: address.to_owned(),
        reached: connected.is_ok(),
        error: connected.err().map(|error| error.to_string()),
        took_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}
