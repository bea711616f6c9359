//! /nodes/N/tasks and /cluster/tasks.

use super::{data, done, index};
use crate::sim::{
    answer::{Answer, Fault},
    params::{Checked, Kind, optional},
    router::Call,
    tasks::{Task, Upid},
};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

pub(super) fn dispatch(call: &Call, node: &str, rest: &[&str]) -> Result<Answer, Fault> {
    match (call.method, rest) {
        ("GET", []) => list(call, node),
        ("GET", [_upid]) => index("name", &["log", "status"]),
        ("DELETE", [upid]) => stop(call, node, upid),
        ("GET", [upid, "status"]) => status(call, node, upid),
        ("GET", [upid, "log"]) => log(call, node, upid),
        _ => Err(call.unknown()),
    }
}

/// How long a task is given to end when it is stopped.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

const LIST_PARAMETERS: &[crate::sim::params::Spec] = &[
    optional("errors", Kind::Boolean),
    optional("limit", Kind::Integer { min: 0 }),
    optional("start", Kind::Integer { min: 0 }),
    optional("since", Kind::Integer { min: 0 }),
    optional("until", Kind::Integer { min: 0 }),
    optional("source", Kind::Choice(&["archive", "active", "all"])),
    optional("statusfilter", Kind::Text),
    optional("typefilter", Kind::Text),
    optional("userfilter", Kind::Text),
    optional("vmid", Kind::Vmid),
];

fn list(call: &Call, node: &str) -> Result<Answer, Fault> {
    let node = call.node(node)?;
    let params = call.params(LIST_PARAMETERS)?;
    let all = call.may(&format!("/nodes/{node}"), &["Sys.Audit"]);
    let source = params.text("source").unwrap_or("archive");
    if let Some(wrong) = params.text("statusfilter").and_then(wrong_status) {
        return Err(Fault::parameter("statusfilter", &format!("invalid format - invalid status '{wrong}'\n")));
    }
    let fits = |task: &Arc<Task>| {
        let running = task.end().is_none();
        task.upid.node == node
            && (all || task.upid.user == call.who.user)
            && (source == "all" || running == (source == "active"))
            && matches(&params, task)
    };
    let tasks: Vec<Arc<Task>> = call.cluster.tasks.newest_first().into_iter().filter(fits).collect();
    let skip = params.count("start").unwrap_or(0);
    let limit = params.count("limit").unwrap_or(50);
    let page: Value = tasks.iter().skip(skip).take(limit).map(|task| line(task, true)).collect();
    if tasks.is_empty() { data(page) } else { Ok(Answer::Page(page, tasks.len())) }
}

fn wrong_status(filter: &str) -> Option<&str> {
    filter.split(',').find(|word| !matches!(*word, "ok" | "error" | "warning" | "unknown"))
}

fn matches(params: &Checked, task: &Task) -> bool {
    let status = task.end().map(|(_, status)| status);
    let ok = status.as_deref().is_none_or(|status| status == "OK");
    let word = match status.as_deref() {
        Some("OK") => "ok",
        Some(text) if text.starts_with("WARNINGS:") => "warning",
        Some(_) => "error",
        None => "unknown",
    };
    let started = task.upid.starttime;
    let id = params.integer("vmid").map(|vmid| vmid.to_string());
    (!params.flag("errors") || !ok)
        && params.text("statusfilter").is_none_or(|filter| filter.split(',').any(|wanted| wanted == word))
        && params.text("typefilter").is_none_or(|kind| task.upid.kind == kind)
        && params.text("userfilter").is_none_or(|part| task.upid.user.contains(part))
        && id.is_none_or(|id| task.upid.id == id)
        && params.integer("since").is_none_or(|since| started >= since)
        && params.integer("until").is_none_or(|until| started <= until)
}

fn line(task: &Task, of_node: bool) -> Value {
    let upid = &task.upid;
    let mut line = json!({
        "id": upid.id, "node": upid.node, "starttime": upid.starttime, "type": upid.kind, "upid": upid.to_string(),
        "user": upid.user,
    });
    if of_node {
        line["pid"] = json!(upid.pid);
        line["pstart"] = json!(upid.pstart);
    }
    match task.end() {
        Some((moment, status)) => {
            line["endtime"] = json!(moment);
            line["status"] = json!(status);
        }
        None if of_node => line["status"] = json!("RUNNING"),
        None => {}
    }
    if !of_node || task.end().is_none() {
        line["saved"] = json!(if task.end().is_some() { "1" } else { "0" });
    }
    line
}

/// The last tasks of all nodes.
pub(super) fn of_cluster(call: &Call) -> Result<Answer, Fault> {
    call.params(&[])?;
    let all = call.may("/nodes", &["Sys.Audit"]);
    let seen = call.cluster.tasks.newest_first().into_iter().filter(|task| all || task.upid.user == call.who.user);
    data(seen.take(25).map(|task| line(&task, false)).collect())
}

/// A task that the caller may look at; `None` for a well-formed name that nothing has.
fn find(call: &Call, node: &str, upid: &str, privilege: &str) -> Result<Option<Arc<Task>>, Fault> {
    let node = call.node(node)?;
    let parsed = Upid::parse(upid).ok_or_else(|| Fault::parameter("upid", "unable to parse worker upid"))?;
    if parsed.user != call.who.user && parsed.user != call.who.full() {
        call.need(&format!("/nodes/{node}"), &[privilege])?;
    }
    Ok(call.cluster.tasks.find(upid).filter(|task| task.upid.node == node))
}

fn no_such_task() -> Fault {
    Fault::parameter("upid", "no such task")
}

fn status(call: &Call, node: &str, upid: &str) -> Result<Answer, Fault> {
    let task = find(call, node, upid, "Sys.Audit")?.ok_or_else(no_such_task)?;
    let mut answer = line(&task, true);
    let end = task.end();
    answer["status"] = json!(if end.is_some() { "stopped" } else { "running" });
    if let Value::Object(map) = &mut answer {
        map.remove("endtime");
        map.remove("saved");
    }
    if let Some((_, status)) = end {
        answer["exitstatus"] = json!(status);
    }
    data(answer)
}

fn stop(call: &Call, node: &str, upid: &str) -> Result<Answer, Fault> {
    find(call, node, upid, "Sys.Modify")?.ok_or_else(no_such_task)?.abort(STOP_PATIENCE);
    done()
}

fn log(call: &Call, node: &str, upid: &str) -> Result<Answer, Fault> {
    let task = find(call, node, upid, "Sys.Audit")?;
    let number = Kind::Integer { min: 0 };
    let params =
        call.params(&[optional("start", number), optional("limit", number), optional("download", Kind::Boolean)])?;
    let mut lines = match &task {
        Some(task) => task.log(),
        None => vec!["unable to open file - No such file or directory".to_owned()],
    };
    if params.flag("download") {
        if params.given("start") || params.given("limit") {
            return Err(Fault::failed("'download' cannot be used together with 'start' or 'limit' parameters"));
        }
        return Ok(Answer::Download(lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()));
    }
    if lines.is_empty() {
        lines.push("no content".to_owned());
    }
    let skip = params.count("start").unwrap_or(0);
    let limit = match params.count("limit") {
        None => 50,
        Some(0) => usize::MAX,
        Some(limit) => limit,
    };
    let page = lines.iter().enumerate().skip(skip).take(limit).map(|(place, text)| json!({"n": place + 1, "t": text}));
    Ok(Answer::Page(page.collect(), lines.len()))
}
