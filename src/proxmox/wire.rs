//! One exchange with the API: what the client needs of HTTP, so that recorded exchanges can stand in for it.

use crate::sys::http::{Http, HttpError};
use std::time::Duration;

/// A request to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub method: &'static str,
    /// Encoded, with its query: `/api2/json/nodes?…`.
    pub path: String,
    /// A form; `None` where there is nothing to say.
    pub form: Option<String>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The reason phrase, which is where Proxmox puts its messages; empty where it is not known.
    pub reason: String,
    /// The body, often empty.
    pub body: Vec<u8>,
}

/// Something that carries requests to an API.
pub trait Wire: Send + Sync {
    /// Sends a request with the headers that say who we are, and waits for the answer.
    fn exchange(&self, request: &Request, who: &[(&str, &str)]) -> Result<Response, HttpError>;
}

impl Wire for Http {
    fn exchange(&self, request: &Request, who: &[(&str, &str)]) -> Result<Response, HttpError> {
        let mut headers = [who, &[("accept", "application/json")]].concat();
        if request.form.is_some() {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let body = request.form.as_deref().unwrap_or_default().as_bytes();
        let reply = self.send(request.method, &request.path, &headers, body, request.timeout)?;
        Ok(Response { status: reply.status, reason: reply.reason, body: reply.body })
    }
}
