//! A hub for tests: it answers what it was told to answer, and remembers what it was asked.

use super::api::{Api, Hub};
use crate::model::{Failure, messages::Event};
use serde_json::Value;
use std::{
    cell::RefCell,
    io::{Cursor, Read},
    rc::Rc,
};

/// The fake. Clones are the same hub.
#[derive(Clone, Default)]
pub struct FakeHub(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    answers: Vec<(String, Result<Value, Failure>)>,
    events: String,
    asked: Vec<String>,
}

impl FakeHub {
    /// Answers requests whose `METHOD path` begins like that.
    #[must_use]
    pub fn answering(self, to: &str, answer: Result<Value, Failure>) -> Self {
        self.0.borrow_mut().answers.push((to.to_owned(), answer));
        self
    }

    /// Streams these events when a plan is executed.
    #[must_use]
    pub fn streaming(self, events: &[Event]) -> Self {
        let texts = events.iter().map(|event| format!("data: {}\n\n", serde_json::to_string(event).unwrap()));
        self.0.borrow_mut().events = texts.collect();
        self
    }

    /// The requests so far: `POST /api/v1/plans {"text":…}`.
    pub fn asked(&self) -> Vec<String> {
        self.0.borrow().asked.clone()
    }

    /// A client of it.
    pub fn hub(&self) -> Hub {
        Hub::new(self.clone())
    }
}

impl Api for FakeHub {
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let mut state = self.0.borrow_mut();
        let asked = format!("{method} {path}");
        state.asked.push(body.map_or_else(|| asked.clone(), |body| format!("{asked} {body}")));
        let answer = state.answers.iter().find(|(to, _)| asked.starts_with(to)).map(|(_, answer)| answer.clone());
        answer.unwrap_or_else(|| Err(Failure::new(format!("the fake hub was not told what to answer to {asked}"))))
    }

    fn stream(&self, path: &str, body: &Value) -> Result<Box<dyn Read>, Failure> {
        let mut state = self.0.borrow_mut();
        state.asked.push(format!("POST {path} {body}"));
        Ok(Box::new(Cursor::new(state.events.clone().into_bytes())))
    }
}
