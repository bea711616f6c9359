//! A Proxmox API that answers every request with any bytes: the inventory and every operation come to an end that says
//! something, and never panic. Answers are parted by lines: status, reason phrase and body of each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::{
    model::{Op, Target},
    proxmox::{
        Client, Known, Token, inventory, perform,
        wire::{Request, Response, Wire},
    },
    sys::{cancel::Cancel, http::HttpError, secret::Secret, task::Task},
};
use serde_json::json;
use std::sync::Mutex;

/// Gives one answer after the other, the last for ever.
struct Hostile(Mutex<Vec<Response>>);

impl Wire for Hostile {
    fn exchange(&self, _: &Request, _: &[(&str, &str)]) -> Result<Response, HttpError> {
        let mut answers = self.0.lock().unwrap();
        let last = answers.len() < 2;
        let answer = if last { answers.last().cloned() } else { answers.pop() };
        answer.ok_or_else(|| HttpError::Lost { what: "the answer".into() })
    }
}

fn client(data: &[u8]) -> Client {
    let lines: Vec<&[u8]> = data.split(|byte| *byte == b'\n').take(40).collect();
    let answer = |line: &&[u8]| {
        let status = [200, 200, 200, 500, 400, 403, 501, 595][usize::from(line.first().copied().unwrap_or_default() % 8)];
        let rest = line.get(1..).unwrap_or_default();
        let reason = String::from_utf8_lossy(rest).chars().take(80).collect();
        // What is no envelope by itself is the data of one.
        let body = if line.first().is_some_and(|byte| *byte >= 128) { rest.to_vec() } else { enveloped(rest) };
        Response { status, reason, body }
    };
    let answers = lines.iter().rev().map(answer).collect();
    let token = Token { id: "a@pve!b".into(), secret: Secret::new("c") };
    Client::new(Hostile(Mutex::new(answers)), &token)
}

fn enveloped(data: &[u8]) -> Vec<u8> {
    [&b"{\"data\":"[..], data, b"}"].concat()
}

fuzz_target!(|data: &[u8]| {
    let Some((which, rest)) = data.split_first() else { return };
    if let Err(error) = inventory(&client(rest), &mut Known::default()) {
        assert!(!error.to_string().is_empty() && !error.help().is_empty());
    }
    let cancel = Cancel::new();
    // Nothing is waited for.
    cancel.fire();
    let task = Task { cancel, ..Task::default() };
    let args = [
        json!({}),
        json!({"snapshot": "a", "name": "b", "node": "pve2", "newid": 300, "backup": "newest", "disk": "rootfs", "size": "9G"}),
        json!({"kind": "ct", "name": "n", "template": "debian", "cores": 2, "storage": "local"}),
    ];
    for (name, _) in Op::ALL {
        for args in &args {
            let known = |key: &String| remotectl::model::catalogue::spec(name).is_some_and(|spec| spec.args.iter().any(|arg| arg.name == *key));
            let args = args.as_object().unwrap().clone().into_iter().filter(|(key, _)| known(key)).collect();
            let Ok(op) = Op::from_parts(name, args) else { continue };
            let target = [Target::ct(101), Target::vm(100), Target::node("pve1"), Target::cluster()][usize::from(which % 4)].clone();
            assert!(!perform(&client(rest), &op, &target, &task).summary.is_empty(), "{name}");
        }
    }
});
