//! Every recorded exchange of a request that this client makes, read as the client reads it: its answer into the type that is
//! made of it, its refusal into the error. The whole recording where it is at hand, what the fixtures have of it otherwise.

use super::{
    changing::Pending,
    client::{Client, Token},
    conformance::{Schema, V9},
    details::{self, Answer, Interface, OsInfo, SnapshotLine},
    error::ApiError,
    form::Form,
    making::Bridge,
    moving::Conditions,
    nodes,
    replay::golden,
    requests::Call,
    resources::{Config, Current, Resource, StatusLine, StorageLine, Volume},
    session::Given,
    snapshots::Feature,
    tasks,
    upid::Upid,
    wire::{Request, Response, Wire},
};
use crate::sys::{http::HttpError, secret::Secret};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
};

/// The lines of the recording that tests of the client and of the simulator are made from.
const OURS: [&str; 2] =
    [include_str!("../../tests/fixtures/pve/client/http.jsonl"), include_str!("../../tests/fixtures/pve/http.jsonl")];

/// Answers everything with this.
struct One(Response);

impl Wire for One {
    fn exchange(&self, _: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
        Ok(self.0.clone())
    }
}

/// One line of the recording, as far as it is an answer to a request that we make.
struct Exchange {
    name: String,
    /// `GET /nodes/{node}/lxc/{vmid}/config`.
    request: String,
    call: Call,
    response: Response,
}

fn exchange(schema: &Schema, line: &Value) -> Option<Exchange> {
    let request = &line["request"];
    let method = ["GET", "POST", "PUT", "DELETE"].into_iter().find(|method| request["method"] == *method)?;
    let (path, query) = match request["path"].as_str()?.strip_prefix("/api2/json")? {
        path if path.contains('?') => path.split_once('?')?,
        path => (path, ""),
    };
    // A log as a file is no JSON, and nothing that we ask for.
    if query.contains("download=") {
        return None;
    }
    let call = Call::stranger(method, path, Form::new());
    let (entry, _) = schema.entry(&call)?;
    let response = &line["response"];
    let body = match &response["body"] {
        Value::Null => Vec::new(),
        Value::String(text) => text.clone().into_bytes(),
        json => json.to_string().into_bytes(),
    };
    let status = u16::try_from(response["status"].as_u64()?).ok()?;
    let reason = response["reason"].as_str().unwrap_or_default().to_owned();
    let request = entry["request"].as_str()?.to_owned();
    let name = line["name"].as_str()?.to_owned();
    Some(Exchange { name, request, call, response: Response { status, reason, body } })
}

type Read = fn(&Client, &Call) -> Result<(), ApiError>;

fn as_type<T: DeserializeOwned>(client: &Client, call: &Call) -> Result<(), ApiError> {
    client.ask::<T>(call).map(drop)
}

/// The type that the client makes of a request's answer.
fn reader(request: &str) -> Read {
    let (method, path) = request.split_once(' ').unwrap();
    let kind = path.rsplit('/').next().unwrap();
    match (method, kind, path) {
        ("POST", "ticket", _) => as_type::<Given>,
        ("GET", "permissions", _) => as_type::<BTreeMap<String, BTreeMap<String, Value>>>,
        ("GET", "resources", _) => as_type::<Vec<Resource>>,
        ("GET", "tasks", "/cluster/tasks") => as_type::<Vec<details::TaskLine>>,
        ("GET", "tasks", _) => as_type::<Vec<nodes::TaskLine>>,
        ("GET", "status", "/cluster/status") => as_type::<Vec<StatusLine>>,
        ("GET", "status", "/nodes/{node}/status") => as_type::<nodes::Status>,
        ("GET", "status", _) => as_type::<tasks::Status>,
        ("GET", "log", _) => as_type::<Vec<tasks::Line>>,
        ("GET", "config", _) => as_type::<Config>,
        ("GET", "pending", _) => as_type::<Vec<Pending>>,
        ("GET", "current", _) => as_type::<Current>,
        ("GET", "feature", _) => as_type::<Feature>,
        ("GET", "interfaces", _) => as_type::<Option<Vec<Interface>>>,
        ("GET", "get-osinfo", _) => as_type::<Answer<OsInfo>>,
        ("GET", "network-get-interfaces", _) => as_type::<Answer<Vec<Interface>>>,
        ("GET", "migrate", _) => as_type::<Conditions>,
        ("GET", "snapshot", _) => as_type::<Vec<SnapshotLine>>,
        ("GET", "network", _) => as_type::<Vec<Bridge>>,
        ("GET", "storage", _) => as_type::<Vec<StorageLine>>,
        ("GET", "content", _) => as_type::<Vec<Volume>>,
        // What changes settings at once answers nothing, and stopping a task neither.
        ("PUT", "config", _) | ("DELETE", "{upid}", _) | ("GET", "nextid" | "version" | "aplinfo", _) => {
            as_type::<Value>
        }
        _ => as_type::<Upid>,
    }
}

#[test]
fn every_recorded_answer_to_a_request_of_ours_is_read_as_what_it_is() {
    let schema = Schema::read(V9);
    let whole = golden("http.jsonl").unwrap_or_else(|| OURS.concat());
    let lines: Vec<Value> = whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ours: Vec<Exchange> = lines.iter().filter_map(|line| exchange(&schema, line)).collect();
    let (mut answered, mut refused, mut kinds) = (0, 0, BTreeSet::new());
    for Exchange { name, request, call, response } in &ours {
        let token = Token { id: "root@pam!full".into(), secret: Secret::new("x") };
        let read = reader(request)(&Client::new(One(response.clone()), &token), call);
        kinds.insert(request);
        if (200..300).contains(&response.status) {
            assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
            answered += 1;
        } else {
            let error = read.unwrap_err();
            assert_eq!(error.status(), Some(response.status), "{name}: {error}");
            assert!(!error.reason().is_empty() && !error.help().is_empty(), "{name}: {error}");
            refused += 1;
        }
    }
    let counts = format!(
        "recorded exchanges: {} of {} are of the {} requests that this client makes; all read: {answered} answers, {refused} refusals",
        ours.len(),
        lines.len(),
        kinds.len()
    );
    writeln!(std::io::stderr(), "{counts}").unwrap();
    assert!(answered > 60 && refused > 3, "{answered} answers, {refused} refusals");
}

/// Any JSON, as deep as anything that Proxmox answers.
fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,20}".prop_map(Value::from),
        "UPID:[a-z0-9:]{0,30}".prop_map(Value::from),
    ];
    let names = "vmid|type|node|name|status|tags|upid|id|endtime|result|ip-addresses|ip-address|local_disks|size|key|pending|t|n|ha|[a-z]{1,6}";
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::btree_map(names, inner, 0..5).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest::proptest! {
    #[test]
    fn no_answer_panics(data in json(), bytes in proptest::collection::vec(any::<u8>(), 0..60), status in 100_u16..700) {
        let schema = Schema::read(V9);
        let token = Token { id: "root@pam!full".into(), secret: Secret::new("x") };
        let call = Call::stranger("GET", "/nodes/pve1/lxc/101/config", Form::new());
        for body in [serde_json::json!({ "data": data }).to_string().into_bytes(), data.to_string().into_bytes(), bytes] {
            for status in [200, status] {
                let reason = String::from_utf8_lossy(&body).chars().take(40).collect();
                let client = Client::new(One(Response { status, reason, body: body.clone() }), &token);
                for request in schema.requests() {
                    // Either it reads, or it is an error that says something.
                    if let Err(error) = reader(request)(&client, &call) {
                        prop_assert!(!error.to_string().is_empty() && !error.help().is_empty());
                    }
                }
            }
        }
    }
}
