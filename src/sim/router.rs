//! From an HTTP request to an endpoint: the path's format, whoever asks, the CSRF token, then the table. The order is
//! the real daemon's, because it decides which of several errors a caller sees.

use super::{
    Cluster,
    access::Identity,
    answer::{Answer, Fault, Format},
    endpoints,
    params::{Checked, Raw, Spec, percent_decode},
};
use crate::sys::clock::unix_seconds as now;

/// A request, read whole.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// `Content-Type`
    pub content_type: Option<String>,
    /// `Authorization`
    pub authorization: Option<String>,
    /// `Cookie`
    pub cookie: Option<String>,
    /// `CSRFPreventionToken`
    pub csrf: Option<String>,
    /// The body's bytes.
    pub body: Vec<u8>,
    /// Whether it came in where only the node's root can connect (pvedaemon's own port): no ticket is asked for.
    pub trusted: bool,
}

/// A request that has been let in, as endpoints see it.
pub(super) struct Call<'a> {
    pub cluster: &'a Cluster,
    /// The node that answers.
    pub local: &'a str,
    pub who: Identity,
    pub method: &'a str,
    pub path: String,
    pub raw: Raw,
}

impl Cluster {
    /// Answers a request that came to a node. Blocks as long as the backend does.
    pub fn handle(&self, node: &str, request: &Request) -> (Result<Answer, Fault>, Format) {
        let (target, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        match split_format(target) {
            Ok((format, path)) => (self.answer(node, request, &path, query), format),
            Err(fault) => (Err(fault), Format::Json),
        }
    }

    fn answer(&self, node: &str, request: &Request, path: &str, query: &str) -> Result<Answer, Fault> {
        if !matches!(request.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
            return Err(Fault::Bare(501, format!("method '{}' not available", request.method)));
        }
        let public = path == "/access/ticket";
        let who = if public { Identity::user("") } else { self.authenticate(request)? };
        let raw = read_parameters(request, query)?;
        let call = Call { cluster: self, local: node, who, method: &request.method, path: path.to_owned(), raw };
        endpoints::dispatch(&call)
    }

    fn authenticate(&self, request: &Request) -> Result<Identity, Fault> {
        if request.trusted {
            return Ok(Identity::user("root@pam"));
        }
        let failed = || Fault::Bare(401, "Authentication failed!".to_owned());
        let missing = || Fault::Bare(401, "No ticket".to_owned());
        if let Some(token) = request.authorization.as_deref().and_then(api_token) {
            return self.access().token_holder(token, now()).ok_or_else(failed);
        }
        let ticket = request.cookie.as_deref().and_then(cookie).ok_or_else(missing)?;
        let user = self.tickets.user_of(&percent_decode(ticket, false)).ok_or_else(failed)?;
        if !self.access().users.get(&user).is_some_and(|user| user.enabled) {
            return Err(failed());
        }
        let holds = |token: &String| self.tickets.csrf_holds(token, &user);
        if request.method != "GET" && !request.csrf.as_ref().is_some_and(holds) {
            return Err(Fault::Bare(401, "Permission denied - invalid csrf token".to_owned()));
        }
        Ok(Identity::user(user))
    }
}

impl Call<'_> {
    /// The parameters, held against what the endpoint takes.
    pub fn params(&self, specs: &[Spec]) -> Result<Checked, Fault> {
        self.raw.check(specs)
    }

    /// Refuses a caller who has none of the privileges at a path.
    pub fn need(&self, path: &str, any_of: &[&str]) -> Result<(), Fault> {
        if self.may(path, any_of) { Ok(()) } else { Err(Fault::forbidden(path, &any_of.join("|"))) }
    }

    /// Whether the caller has one of the privileges at a path.
    pub fn may(&self, path: &str, any_of: &[&str]) -> bool {
        self.cluster.access().allows(&self.who, path, any_of)
    }

    /// The node that a path names; every node answers for every other.
    pub fn node(&self, name: &str) -> Result<String, Fault> {
        let name = if name == "localhost" { self.local } else { name };
        if name != self.local && self.cluster.faults().offline.contains(name) {
            return Err(Fault::Bare(595, "No route to host".to_owned()));
        }
        if self.cluster.backend.inventory().node(name).is_some() {
            return Ok(name.to_owned());
        }
        let possible = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        let why = if possible { "Temporary failure in name resolution" } else { "Name or service not known" };
        Err(Fault::failed(format!("hostname lookup '{name}' failed - failed to get address info for: {name}: {why}")))
    }

    /// The answer for a path or method that there isn't.
    pub fn unknown(&self) -> Fault {
        Fault::unknown(self.method, &self.path)
    }
}

fn split_format(target: &str) -> Result<(Format, String), Fault> {
    let mut parts = target.split('/').filter(|part| !part.is_empty());
    if parts.next() != Some("api2") {
        return Err(Fault::Text(500, format!("no such file '{target}'\n")));
    }
    let format = parts.next().unwrap_or_default();
    let path: String = parts.flat_map(|part| ["/".to_owned(), percent_decode(part, false)]).collect();
    match format {
        "json" => Ok((Format::Json, path)),
        "extjs" => Ok((Format::Extjs, path)),
        other => Err(Fault::Text(501, format!("no formatter for uri {path}, {other}"))),
    }
}

fn read_parameters(request: &Request, query: &str) -> Result<Raw, Fault> {
    let mut raw = Raw::default();
    raw.add_form(query);
    if request.body.is_empty() || request.method == "GET" {
        return Ok(raw);
    }
    let kind = request.content_type.as_deref().unwrap_or("application/x-www-form-urlencoded");
    match kind.split(';').next().unwrap_or_default().trim() {
        "application/x-www-form-urlencoded" => raw.add_form(&String::from_utf8_lossy(&request.body)),
        "application/json" => raw.add_json(&request.body)?,
        _ => return Err(Fault::Text(506, format!("upload 'Content-Type '{kind}' not implemented"))),
    }
    Ok(raw)
}

/// `PVEAPIToken=user@realm!id=secret`; a blank does for the first equals sign.
fn api_token(header: &str) -> Option<&str> {
    let rest = header.strip_prefix("PVEAPIToken")?;
    rest.strip_prefix('=').or_else(|| rest.strip_prefix(' '))
}

fn cookie(header: &str) -> Option<&str> {
    header.split(';').find_map(|pair| pair.trim().strip_prefix("PVEAuthCookie="))
}
