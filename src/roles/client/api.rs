//! The operators' API as the client calls it: one method a request, over whatever carries it.

use super::sse::Events;
use crate::model::{
    Answer, Exit, Failure,
    messages::{
        AgentRow, ApproveRequest, CredentialRow, ExecuteRequest, GuestRow, HoldRequest, HubInfo, JoinToken,
        JoinTokenRequest, NewCredential, NewOperator, NodeRow, OperatorRow, OperatorToken, PlanRecord, PlanRequest,
        RotateCredential, SettleRequest, TrustRequest,
    },
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::io::Read;

/// What carries requests to a hub: HTTP for real, a fake in tests.
pub trait Api {
    /// Sends a request and gives the JSON that it was answered with (null for an empty answer). `path` begins with
    /// `/api/v1/` and is encoded already.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure>;

    /// Posts a body and gives the stream of server-sent events that answers it.
    fn stream(&self, path: &str, body: &Value) -> Result<Box<dyn Read>, Failure>;
}

/// A hub.
pub struct Hub(Box<dyn Api>);

impl Hub {
    /// A hub behind a carrier.
    pub fn new(api: impl Api + 'static) -> Self {
        Self(Box::new(api))
    }

    /// Makes a plan.
    pub fn plan(&self, request: &PlanRequest) -> Result<Answer, Failure> {
        self.post("/api/v1/plans", request)
    }

    /// Says yes to a plan.
    pub fn approve(&self, id: &str, request: &ApproveRequest) -> Result<(), Failure> {
        self.post::<Value>(&plan_path(id, "/approve"), request).map(drop)
    }

    /// Begins a plan, and gives what happens.
    pub fn execute(&self, id: &str, request: &ExecuteRequest) -> Result<Events, Failure> {
        let reader = self.0.stream(&plan_path(id, "/execute"), &json(request)?)?;
        Ok(Events::new(reader))
    }

    /// Says no to a plan.
    pub fn deny(&self, id: &str) -> Result<(), Failure> {
        self.0.call("POST", &plan_path(id, "/deny"), Some(&Value::Object(serde_json::Map::new()))).map(drop)
    }

    /// Stops a plan.
    pub fn cancel(&self, id: &str) -> Result<(), Failure> {
        self.0.call("POST", &plan_path(id, "/cancel"), Some(&Value::Object(serde_json::Map::new()))).map(drop)
    }

    /// Says how what is unknown of a plan ended.
    pub fn settle(&self, id: &str, request: &SettleRequest) -> Result<PlanRecord, Failure> {
        self.post(&plan_path(id, "/settle"), request)
    }

    /// A plan on record.
    pub fn record(&self, id: &str) -> Result<PlanRecord, Failure> {
        self.get(&plan_path(id, ""))
    }

    /// The plans of late, newest first.
    pub fn history(&self, limit: u32) -> Result<Vec<PlanRecord>, Failure> {
        self.get(&format!("/api/v1/plans?limit={limit}"))
    }

    /// The guests that a selector takes; all for an empty one.
    pub fn guests(&self, selector: &str) -> Result<Vec<GuestRow>, Failure> {
        self.get(&listing("guests", selector))
    }

    /// The nodes that a selector takes; all for an empty one.
    pub fn nodes(&self, selector: &str) -> Result<Vec<NodeRow>, Failure> {
        self.get(&listing("nodes", selector))
    }

    /// The agents of what a selector takes; all for an empty one.
    pub fn agents(&self, selector: &str) -> Result<Vec<AgentRow>, Failure> {
        self.get(&listing("agents", selector))
    }

    /// Locks, unlocks or evicts (`what`) the agent of a target.
    pub fn hold(&self, what: &str, request: &HoldRequest) -> Result<AgentRow, Failure> {
        self.post(&format!("/api/v1/agents/{what}"), request)
    }

    /// Makes a join string.
    pub fn join_token(&self, request: &JoinTokenRequest) -> Result<JoinToken, Failure> {
        self.post("/api/v1/join-tokens", request)
    }

    /// Adds an operator.
    pub fn add_operator(&self, request: &NewOperator) -> Result<OperatorToken, Failure> {
        self.post("/api/v1/operators", request)
    }

    /// The operators.
    pub fn operators(&self) -> Result<Vec<OperatorRow>, Failure> {
        self.get("/api/v1/operators")
    }

    /// Takes an operator away.
    pub fn remove_operator(&self, name: &str) -> Result<(), Failure> {
        self.0.call("DELETE", &format!("/api/v1/operators/{}", encoded(name)), None).map(drop)
    }

    /// Keeps a way to log in to guests.
    pub fn add_credential(&self, request: &NewCredential) -> Result<CredentialRow, Failure> {
        self.post("/api/v1/credentials", request)
    }

    /// The ways to log in to guests.
    pub fn credentials(&self) -> Result<Vec<CredentialRow>, Failure> {
        self.get("/api/v1/credentials")
    }

    /// Puts another secret in place.
    pub fn rotate_credential(&self, name: &str, request: &RotateCredential) -> Result<CredentialRow, Failure> {
        self.post(&format!("/api/v1/credentials/{}/rotate", encoded(name)), request)
    }

    /// Forgets a way to log in.
    pub fn remove_credential(&self, name: &str) -> Result<(), Failure> {
        self.0.call("DELETE", &format!("/api/v1/credentials/{}", encoded(name)), None).map(drop)
    }

    /// Says yes to a guest's host key.
    pub fn trust(&self, request: &TrustRequest) -> Result<(), Failure> {
        self.post::<Value>("/api/v1/host-keys", request).map(drop)
    }

    /// Which hub this is.
    pub fn info(&self) -> Result<HubInfo, Failure> {
        self.get("/api/v1/hub")
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        understood(path, self.0.call("GET", path, None)?)
    }

    fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        understood(path, self.0.call("POST", path, Some(&json(body)?))?)
    }
}

fn json(body: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(body).map_err(|error| Failure::of("writing the request", &error))
}

fn understood<T: DeserializeOwned>(path: &str, answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::of(&format!("reading the hub's answer to {path}"), &error)
            .help("client and hub may be of different versions: compare `remotectl version` here and there")
            .exit(Exit::Failed)
    })
}

fn plan_path(id: &str, what: &str) -> String {
    // Plans are named in upper case, and typed in either.
    format!("/api/v1/plans/{}{what}", encoded(&id.to_ascii_uppercase()))
}

fn listing(what: &str, selector: &str) -> String {
    match selector {
        "" => format!("/api/v1/{what}"),
        selector => format!("/api/v1/{what}?selector={}", encoded(selector)),
    }
}

/// Percent-encoding of everything but unreserved characters.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_stays_inside_its_part_of_the_path() {
        assert_eq!(
            listing("guests", "tag=web and not name=ü"),
            "/api/v1/guests?selector=tag%3Dweb%20and%20not%20name%3D%C3%BC"
        );
        assert_eq!(plan_path("../operators?x#", "/deny"), "/api/v1/plans/..%2FOPERATORS%3FX%23/deny");
    }

    #[test]
    fn an_answer_of_another_version_says_so() {
        let failure = understood::<Answer>("/api/v1/plans", serde_json::json!({"outcome": "sing"})).unwrap_err();
        assert!(failure.message.starts_with("reading the hub's answer to /api/v1/plans: "), "{failure}");
        assert!(failure.help.unwrap().contains("version"));
    }
}
