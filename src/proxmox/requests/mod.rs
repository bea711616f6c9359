//! Every request that this client can make, one constructor each: nothing else builds one. That makes them a list, which
//! `proxmox::conformance` walks and holds against the API's own description, for version 8 and for version 9.

pub mod access;
pub mod cluster;
pub mod guests;
pub mod making;
pub mod power;
pub mod snapshots;
pub mod storage;

use super::form::{Form, path};
use crate::model::{target::Vmid, values::GuestKind};
use std::fmt;

/// A request, complete but for the credential.
#[derive(Debug, Clone)]
pub struct Call {
    method: &'static str,
    path: String,
    form: Form,
    tasks: &'static [&'static str],
}

/// Where a guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// Its node.
    pub node: &'a str,
    /// Container or virtual machine.
    pub kind: GuestKind,
    /// Its id.
    pub vmid: Vmid,
}

impl Call {
    fn new(method: &'static str, parts: &[&str]) -> Self {
        Self { method, path: path(parts), form: Form::new(), tasks: &[] }
    }

    fn get(parts: &[&str]) -> Self {
        Self::new("GET", parts)
    }

    fn post(parts: &[&str]) -> Self {
        Self::new("POST", parts)
    }

    fn delete(parts: &[&str]) -> Self {
        Self::new("DELETE", parts)
    }

    fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.form = self.form.with(name, value);
        self
    }

    fn maybe(self, name: &'static str, value: Option<impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn flag(self, name: &'static str, value: bool) -> Self {
        self.with(name, u8::from(value))
    }

    /// Sets a task of one of these types going.
    fn starts(mut self, tasks: &'static [&'static str]) -> Self {
        self.tasks = tasks;
        self
    }

    /// `GET`, `POST`, `PUT` or `DELETE`.
    pub fn method(&self) -> &'static str {
        self.method
    }

    /// The path below /api2/json, encoded, without a query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The parameters.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The types of the task that it sets going; empty where there is none.
    pub fn tasks(&self) -> &'static [&'static str] {
        self.tasks
    }

    /// `POST /nodes/pve1/lxc/101/status/start`, for messages.
    pub fn doing(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// A request that this client does not make, for tests of what comes back.
    #[cfg(test)]
    pub fn stranger(method: &'static str, path: &str, form: Form) -> Self {
        Self { method, path: path.to_owned(), form, tasks: &[] }
    }
}

impl Place<'_> {
    fn call(&self, method: &'static str, rest: &[&str]) -> Call {
        let vmid = self.vmid.to_string();
        Call::new(method, &[&["nodes", self.node, self.kind.api(), vmid.as_str()], rest].concat())
    }
}
