//! A log-in by password: a ticket and its CSRF token, which live two hours; a second factor where one is asked for; a new
//! ticket for the old one before that has ended.

use super::{
    client::read,
    error::ApiError,
    requests::{Call, access},
    wire::Response,
};
use crate::sys::secret::Secret;
use serde::Deserialize;
use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// When a ticket is exchanged for a new one: half of its life.
const RENEW: Duration = Duration::from_hours(1);
/// When a ticket can't be renewed any more.
const LIFE: Duration = Duration::from_hours(2);

/// A user's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// With its realm: `root@pam`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The six digits of the moment, where the user has a second factor (TOTP).
    pub totp: Option<Secret>,
}

/// A log-in and its present ticket.
pub(super) struct Session {
    login: Login,
    ticket: Mutex<Option<Ticket>>,
}

#[derive(Clone)]
struct Ticket {
    cookie: Secret,
    text: Secret,
    csrf: Secret,
    since: Instant,
}

#[derive(Deserialize)]
struct Given {
    ticket: Secret,
    #[serde(rename = "CSRFPreventionToken", default)]
    csrf: Option<Secret>,
    #[serde(rename = "NeedTFA", default, deserialize_with = "super::lenient::flag")]
    second_factor: bool,
}

type Exchange<'a> = dyn Fn(&Call, &[(&str, &str)]) -> Result<Response, ApiError> + 'a;

impl Session {
    pub fn new(login: Login) -> Self {
        Self { login, ticket: Mutex::default() }
    }

    pub fn user(&self) -> &str {
        &self.login.user
    }

    /// Sends a request with a ticket that is good. One that is refused all the same (the cluster's key was changed, the
    /// clock has jumped) is replaced once: a request that gets 401 has done nothing.
    pub fn ask(&self, call: &Call, exchange: &Exchange) -> Result<Response, ApiError> {
        let ticket = self.ticket(exchange)?;
        match send(call, &ticket, exchange) {
            Err(error) if error.status() == Some(401) => {
                *self.ticket.lock().unwrap_or_else(PoisonError::into_inner) = None;
                send(call, &self.ticket(exchange)?, exchange)
            }
            answered => answered,
        }
    }

    fn ticket(&self, exchange: &Exchange) -> Result<Ticket, ApiError> {
        let mut kept = self.ticket.lock().unwrap_or_else(PoisonError::into_inner);
        let ticket = match &*kept {
            Some(ticket) if ticket.since.elapsed() < RENEW => ticket.clone(),
            // A renewal that fails is no loss while there is the password.
            Some(old) if old.since.elapsed() < LIFE => self.renew(old, exchange).or_else(|_| self.log_in(exchange))?,
            _ => self.log_in(exchange)?,
        };
        *kept = Some(ticket.clone());
        Ok(ticket)
    }

    fn renew(&self, old: &Ticket, exchange: &Exchange) -> Result<Ticket, ApiError> {
        let call = access::ticket(&self.login.user, old.text.reveal());
        ticket_of(&call, read(&call, &exchange(&call, &[])?)?)
    }

    fn log_in(&self, exchange: &Exchange) -> Result<Ticket, ApiError> {
        let Login { user, password, totp } = &self.login;
        let call = access::ticket(user, password.reveal());
        let given: Given = read(&call, &exchange(&call, &[])?)?;
        if !given.second_factor {
            return ticket_of(&call, given);
        }
        let Some(totp) = totp else {
            return Err(ApiError::SecondFactor { user: user.clone() });
        };
        let call = access::second_factor(user, given.ticket.reveal(), &format!("totp:{}", totp.reveal()));
        ticket_of(&call, read(&call, &exchange(&call, &[])?)?)
    }
}

fn send(call: &Call, ticket: &Ticket, exchange: &Exchange) -> Result<Response, ApiError> {
    let headers = [("cookie", ticket.cookie.reveal()), ("csrfpreventiontoken", ticket.csrf.reveal())];
    exchange(call, &headers)
}

fn ticket_of(call: &Call, given: Given) -> Result<Ticket, ApiError> {
    let no_token = || ApiError::Answer { doing: call.doing(), why: "there is no CSRF token in it".to_owned() };
    // As it is: it has no character that a cookie could not have, and Proxmox takes it so.
    let cookie = Secret::new(format!("PVEAuthCookie={}", given.ticket.reveal()));
    Ok(Ticket { cookie, text: given.ticket, csrf: given.csrf.ok_or_else(no_token)?, since: Instant::now() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxmox::{
        Client,
        requests::cluster,
        wire::{Request, Wire},
    };
    use crate::sys::http::HttpError;
    use serde_json::{Value, json};
    use std::sync::Arc;

    /// A node that counts log-ins and believes one ticket at a time.
    #[derive(Default)]
    struct Node {
        log_ins: Mutex<Vec<String>>,
        second_factor: bool,
    }

    impl Wire for Arc<Node> {
        fn exchange(&self, request: &Request, who: &[(&str, &str)]) -> Result<Response, HttpError> {
            let answer = |status: u16, data: Value| Response {
                status,
                reason: String::new(),
                body: json!({ "data": data }).to_string().into_bytes(),
            };
            let mut log_ins = self.log_ins.lock().unwrap();
            if request.path == "/api2/json/access/ticket" {
                assert!(who.is_empty(), "a log-in needs no ticket");
                let form = request.form.clone().unwrap();
                let challenge = self.second_factor && !form.contains("tfa-challenge");
                log_ins.push(form);
                let ticket = format!("PVE:root@pam:{:04X}::sign+/=", log_ins.len());
                return Ok(if challenge {
                    answer(200, json!({"ticket": "PVE:!tfa!x", "NeedTFA": 1}))
                } else {
                    answer(200, json!({"ticket": ticket, "CSRFPreventionToken": "token"}))
                });
            }
            // The first ticket is good for nothing.
            let good = who[0].1.contains("PVEAuthCookie=PVE:root@pam:0002::sign+/=");
            Ok(if good { answer(200, json!({"version": "9.2.11"})) } else { answer(401, Value::Null) })
        }
    }

    fn client(node: &Arc<Node>, totp: Option<&str>) -> Client {
        let login = Login { user: "root@pam".into(), password: Secret::new("p;w="), totp: totp.map(Secret::new) };
        Client::with_password(Arc::clone(node), login)
    }

    #[test]
    fn a_ticket_that_is_refused_is_replaced_once() {
        let node = Arc::new(Node::default());
        let client = client(&node, None);
        client.ask::<Value>(&cluster::version("pve1")).unwrap();
        client.ask::<Value>(&cluster::version("pve1")).unwrap();
        let wanted = "username=root%40pam&password=p%3Bw%3D";
        assert_eq!(*node.log_ins.lock().unwrap(), [wanted, wanted]);
    }

    #[test]
    fn a_second_factor_answers_the_challenge() {
        let node = Arc::new(Node { second_factor: true, ..Node::default() });
        client(&node, Some("123456")).ask::<Value>(&cluster::version("pve1")).unwrap();
        let sent = node.log_ins.lock().unwrap()[1].clone();
        assert_eq!(sent, "username=root%40pam&password=totp%3A123456&tfa-challenge=PVE%3A%21tfa%21x");
        let error = client(&node, None).ask::<Value>(&cluster::version("pve1")).unwrap_err();
        assert_eq!(error.to_string(), "logging in as root@pam: a second factor is asked for");
    }
}
