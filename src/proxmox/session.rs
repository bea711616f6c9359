//! A log-in by password: a ticket and its CSRF token, which live two hours; a second factor where one is asked for; a new
//! ticket for the old one before that has ended.

use super::{
    client::read,
    error::ApiError,
    requests::{Call, access},
    totp::TotpKey,
    wire::Response,
};
use crate::sys::{clock::Clock, secret::Secret};
use serde::Deserialize;
use std::sync::{Mutex, PoisonError};

/// When a ticket is exchanged for a new one, in seconds: half of its life.
const RENEW: i64 = 3_600;
/// When a ticket can't be renewed any more, in seconds.
const LIFE: i64 = 7_200;

/// A user's credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// With its realm: `root@pam`.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// The key of its second factor (TOTP), where it has one.
    pub totp: Option<TotpKey>,
}

/// A log-in and its present ticket.
pub(super) struct Session {
    login: Login,
    clock: Clock,
    ticket: Mutex<Option<Ticket>>,
}

#[derive(Clone)]
struct Ticket {
    cookie: Secret,
    text: Secret,
    csrf: Secret,
    since: i64,
}

#[derive(Deserialize)]
pub(super) struct Given {
    ticket: Secret,
    #[serde(rename = "CSRFPreventionToken", default)]
    csrf: Option<Secret>,
    #[serde(rename = "NeedTFA", default, deserialize_with = "super::lenient::flag")]
    second_factor: bool,
}

type Exchange<'a> = dyn Fn(&Call, &[(&str, &str)]) -> Result<Response, ApiError> + 'a;

impl Session {
    pub fn new(login: Login, clock: Clock) -> Self {
        Self { login, clock, ticket: Mutex::default() }
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
            Some(ticket) if (0..RENEW).contains(&self.age(ticket)) => ticket.clone(),
            // A renewal that fails is no loss while there is the password.
            Some(old) if (0..LIFE).contains(&self.age(old)) => {
                self.renew(old, exchange).or_else(|_| self.log_in(exchange))?
            }
            _ => self.log_in(exchange)?,
        };
        *kept = Some(ticket.clone());
        Ok(ticket)
    }

    /// In seconds; negative where the clock was put back.
    fn age(&self, ticket: &Ticket) -> i64 {
        self.clock.now() - ticket.since
    }

    fn renew(&self, old: &Ticket, exchange: &Exchange) -> Result<Ticket, ApiError> {
        let call = access::ticket(&self.login.user, old.text.reveal());
        self.ticket_of(&call, read(&call, &exchange(&call, &[])?)?)
    }

    fn log_in(&self, exchange: &Exchange) -> Result<Ticket, ApiError> {
        let Login { user, password, totp } = &self.login;
        let call = access::ticket(user, password.reveal());
        let given: Given = read(&call, &exchange(&call, &[])?)?;
        if !given.second_factor {
            return self.ticket_of(&call, given);
        }
        let Some(totp) = totp else {
            return Err(ApiError::SecondFactor { user: user.clone() });
        };
        let call = access::second_factor(user, given.ticket.reveal(), &format!("totp:{}", totp.code(self.clock.now())));
        self.ticket_of(&call, read(&call, &exchange(&call, &[])?)?)
    }

    fn ticket_of(&self, call: &Call, given: Given) -> Result<Ticket, ApiError> {
        let no_token = || ApiError::Answer { doing: call.doing(), why: "there is no CSRF token in it".to_owned() };
        // As it is: it has no character that a cookie could not have, and Proxmox takes it so.
        let cookie = Secret::new(format!("PVEAuthCookie={}", given.ticket.reveal()));
        let csrf = given.csrf.ok_or_else(no_token)?;
        Ok(Ticket { cookie, text: given.ticket, csrf, since: self.clock.now() })
    }
}

fn send(call: &Call, ticket: &Ticket, exchange: &Exchange) -> Result<Response, ApiError> {
    let headers = [("cookie", ticket.cookie.reveal()), ("csrfpreventiontoken", ticket.csrf.reveal())];
    exchange(call, &headers)
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
        patient: bool,
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
            let good = self.patient || who[0].1.contains("PVEAuthCookie=PVE:root@pam:0002::sign+/=");
            Ok(if good { answer(200, json!({"version": "9.2.11"})) } else { answer(401, Value::Null) })
        }
    }

    fn login(totp: Option<&str>) -> Login {
        Login { user: "root@pam".into(), password: Secret::new("p;w="), totp: totp.and_then(TotpKey::parse) }
    }

    fn client(node: &Arc<Node>) -> Client {
        Client::with_password(Arc::clone(node), login(None))
    }

    #[test]
    fn a_ticket_that_is_refused_is_replaced_once() {
        let node = Arc::new(Node::default());
        let client = client(&node);
        client.ask::<Value>(&cluster::version("pve1")).unwrap();
        client.ask::<Value>(&cluster::version("pve1")).unwrap();
        let wanted = "username=root%40pam&password=p%3Bw%3D";
        assert_eq!(*node.log_ins.lock().unwrap(), [wanted, wanted]);
    }

    #[test]
    fn a_ticket_is_renewed_by_itself_before_its_two_hours_are_over_and_by_the_password_after() {
        let node = Arc::new(Node { patient: true, ..Node::default() });
        let clock = Clock::new();
        let client = Client::with_password_at(Arc::clone(&node), login(None), clock.clone());
        let after = |seconds: i64| {
            clock.follow(crate::sys::clock::unix_seconds() + seconds);
            client.ask::<Value>(&cluster::version("pve1")).unwrap();
            node.log_ins.lock().unwrap().len()
        };
        assert_eq!([after(0), after(RENEW - 60), after(RENEW + 60), after(RENEW + 120)], [1, 1, 2, 2]);
        // The second one was asked for at RENEW + 60, with the first in the place of the password.
        assert_eq!([after(2 * RENEW), after(2 * RENEW + 120), after(2 * RENEW + 120 + LIFE)], [2, 3, 4]);
        // A clock that was put back tells nothing about a ticket's age.
        assert_eq!(after(0), 5);
        let (renewal, password) = ("password=PVE%3Aroot%40pam%3A", "password=p%3Bw%3D");
        let log_ins = node.log_ins.lock().unwrap().clone();
        let by = |wanted: &str| log_ins.iter().map(|form| form.contains(wanted)).collect::<Vec<_>>();
        assert_eq!(by(renewal), [false, true, true, false, false], "{log_ins:?}");
        assert_eq!(by(password), [true, false, false, true, true], "{log_ins:?}");
    }

    #[test]
    fn a_second_factor_answers_the_challenge() {
        let node = Arc::new(Node { second_factor: true, ..Node::default() });
        let clock = Clock::new();
        clock.follow(59);
        let key = Some("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        Client::with_password_at(Arc::clone(&node), login(key), clock).ask::<Value>(&cluster::version("pve1")).unwrap();
        let sent = node.log_ins.lock().unwrap()[1].clone();
        assert_eq!(sent, "username=root%40pam&password=totp%3A287082&tfa-challenge=PVE%3A%21tfa%21x");
        let error = client(&node).ask::<Value>(&cluster::version("pve1")).unwrap_err();
        assert_eq!(error.to_string(), "logging in as root@pam: a second factor is asked for");
    }
}
