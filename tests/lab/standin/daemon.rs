//! The node's own API daemon, at the port that only its root can reach: what pvesh and pveum ask instead of the cluster
//! file system.

use super::Failure;
use serde_json::Value;
use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

const ADDRESS: &str = "127.0.0.1:85";

/// An answer of the API.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body, if it was JSON.
    pub body: Value,
}

impl Reply {
    /// `data`
    pub fn data(&self) -> &Value {
        &self.body["data"]
    }

    /// `message`, without the line's end.
    pub fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default().trim_end()
    }
}

/// Asks it. Parameters go as a form, or into the query for methods without a body.
pub fn call(method: &str, path: &str, parameters: &[(String, String)]) -> Result<Reply, Failure> {
    let exchange = || -> io::Result<Reply> {
        let form = encode_form(parameters);
        let with_body = matches!(method, "POST" | "PUT");
        let target =
            if with_body || form.is_empty() { encode_path(path) } else { format!("{}?{form}", encode_path(path)) };
        let body = if with_body { form.as_str() } else { "" };
        let mut stream = TcpStream::connect(ADDRESS)?;
        write!(
            stream,
            "{method} /api2/json{target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        parse(&String::from_utf8_lossy(&answer)).ok_or_else(|| io::Error::other("no HTTP answer"))
    };
    exchange().map_err(|error| Failure::with_status(111, format!("ipcc_send_rec failed: {error}")))
}

fn parse(answer: &str) -> Option<Reply> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Reply { status, body: serde_json::from_str(body).unwrap_or(Value::Null) })
}

fn encode_form(parameters: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        parameters.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    pairs.join("&")
}

fn encode_path(path: &str) -> String {
    let segments: Vec<String> = path.split('/').map(encode).collect();
    segments.join("/")
}

fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
