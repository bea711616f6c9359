//! The shapes of the API's answers. Failures are told by the reason phrase above all: 401 has nothing else, 500 repeats
//! it in `message`, 400 adds `errors` by parameter. The `extjs` format answers 200 and tells the status in the body.

use axum::{
    body::Body,
    http::{HeaderValue, Response, StatusCode, header},
};
use hyper::ext::ReasonPhrase;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// 400 with a message for each wrong parameter.
    Parameters(BTreeMap<String, String>),
    /// A status with a message, repeated in the reason phrase.
    Message(u16, String),
    /// A status with a message without a line's end, as for paths that don't exist.
    Plain(u16, String),
    /// A status and a reason phrase, no body at all.
    Bare(u16, String),
    /// A status and a text as the body: what the HTTP server itself refuses.
    Text(u16, String),
}

impl Fault {
    /// One wrong parameter.
    pub fn parameter(name: &str, message: &str) -> Self {
        Self::Parameters(BTreeMap::from([(name.to_owned(), message.to_owned())]))
    }

    /// The ordinary failure: 500 and what went wrong.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Message(500, message.into())
    }

    /// What is missing of a user's rights.
    pub fn forbidden(path: &str, privileges: &str) -> Self {
        Self::Message(403, format!("Permission check failed ({path}, {privileges})"))
    }

    /// No such path, or not with that method.
    pub fn unknown(method: &str, path: &str) -> Self {
        Self::Plain(501, format!("Method '{method} {path}' not implemented"))
    }

    fn status(&self) -> u16 {
        match self {
            Self::Parameters(_) => 400,
            Self::Message(status, _) | Self::Plain(status, _) | Self::Bare(status, _) | Self::Text(status, _) => {
                *status
            }
        }
    }

    fn message(&self) -> &str {
        match self {
            Self::Parameters(_) => "Parameter verification failed.",
            Self::Message(_, text) | Self::Plain(_, text) | Self::Bare(_, text) | Self::Text(_, text) => text,
        }
    }

    fn body(&self) -> Option<Map<String, Value>> {
        let line = match self {
            Self::Bare(..) | Self::Text(..) => return None,
            Self::Plain(_, text) => text.clone(),
            Self::Parameters(_) | Self::Message(..) => format!("{}\n", self.message()),
        };
        let mut body = Map::from_iter([("data".to_owned(), Value::Null)]);
        if let Self::Parameters(errors) = self {
            body.insert("errors".to_owned(), json!(errors));
        }
        body.insert("message".to_owned(), Value::String(line));
        Some(body)
    }
}

/// What an endpoint gives back.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// `data`.
    Data(Value),
    /// `data`, and how many there would be without the limit.
    Page(Value, usize),
    /// Text to be saved.
    Download(String),
}

/// How the path asks for its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `/api2/json`
    Json,
    /// `/api2/extjs`, the web interface's: errors with status 200.
    Extjs,
}

/// Puts an endpoint's outcome into HTTP.
pub fn response(outcome: Result<Answer, Fault>, format: Format) -> Response<Body> {
    match outcome {
        Ok(Answer::Download(text)) => with_reason(200, "OK", Some((text, "text/plain"))),
        Ok(Answer::Data(data)) => success(json!({ "data": data }), format),
        Ok(Answer::Page(data, total)) => success(json!({ "data": data, "total": total }), format),
        Err(fault) => failure(&fault, format),
    }
}

fn success(mut body: Value, format: Format) -> Response<Body> {
    if let (Format::Extjs, Value::Object(map)) = (format, &mut body) {
        map.insert("success".to_owned(), json!(1));
    }
    with_reason(200, "OK", Some((canonical(body).to_string(), JSON)))
}

fn failure(fault: &Fault, format: Format) -> Response<Body> {
    let reason = fault.message().lines().next().unwrap_or_default();
    match (fault.body(), format) {
        (None, _) => {
            let text = matches!(fault, Fault::Text(..)).then(|| (fault.message().to_owned(), "text/plain"));
            with_reason(fault.status(), reason, text)
        }
        (Some(body), Format::Json) => {
            with_reason(fault.status(), reason, Some((canonical(Value::Object(body)).to_string(), JSON)))
        }
        (Some(mut body), Format::Extjs) => {
            body.insert("status".to_owned(), json!(fault.status()));
            body.insert("success".to_owned(), json!(0));
            with_reason(200, "OK", Some((canonical(Value::Object(body)).to_string(), JSON)))
        }
    }
}

const JSON: &str = "application/json;charset=UTF-8";

fn with_reason(status: u16, reason: &str, body: Option<(String, &'static str)>) -> Response<Body> {
    let (text, kind) = body.map_or((String::new(), None), |(text, kind)| (text, Some(kind)));
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::SERVER, HeaderValue::from_static("pve-api-daemon/3.0"));
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    if let Ok(phrase) = ReasonPhrase::try_from(reason.as_bytes()) {
        response.extensions_mut().insert(phrase);
    }
    response
}

/// Objects in the order of their keys, as the real API writes them.
fn canonical(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        plain => plain,
    }
}
