//! A node's own state and its recent tasks.

use super::{client::Client, error::ApiError, lenient, requests::cluster};
use crate::{
    model::Outcome,
    sys::{clock, text::one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Tasks that are shown when nobody says how many.
const TASKS: u64 = 20;

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pveversion: String,
    #[serde(deserialize_with = "lenient::number")]
    uptime: u64,
    loadavg: Vec<Value>,
    cpuinfo: CpuInfo,
    memory: Space,
    rootfs: Space,
    #[serde(rename = "current-kernel")]
    kernel: Kernel,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct CpuInfo {
    #[serde(deserialize_with = "lenient::number")]
    cpus: u64,
    #[serde(deserialize_with = "lenient::text")]
    model: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Space {
    #[serde(deserialize_with = "lenient::number")]
    used: u64,
    #[serde(deserialize_with = "lenient::number")]
    total: u64,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kernel {
    #[serde(deserialize_with = "lenient::text")]
    release: String,
}

/// One finished or running task.
#[derive(Serialize, Deserialize)]
pub(super) struct TaskLine {
    upid: String,
    #[serde(rename = "type", default, deserialize_with = "lenient::text")]
    kind: String,
    #[serde(default, deserialize_with = "lenient::text")]
    id: String,
    #[serde(default, deserialize_with = "lenient::text")]
    user: String,
    #[serde(default, deserialize_with = "lenient::number")]
    starttime: u64,
    #[serde(default, deserialize_with = "lenient::maybe_number")]
    endtime: Option<u64>,
    #[serde(default)]
    status: Option<String>,
}

/// node.status.
pub(super) fn status(client: &Client, node: &str) -> Result<Outcome, ApiError> {
    let status: Status = client.ask(&cluster::node_status(node))?;
    let load: Vec<String> = status.loadavg.iter().map(|load| load.as_str().unwrap_or_default().to_owned()).collect();
    let version = status.pveversion.split('/').nth(1).unwrap_or(&status.pveversion).to_owned();
    let gib = |bytes: u64| format!("{}.{}", bytes >> 30, ((bytes & ((1 << 30) - 1)) * 10) >> 30);
    let summary = format!(
        "up {}, load {}, memory {} of {} GiB, root {} of {} GiB, {} cores, Proxmox VE {}",
        span(status.uptime),
        load.first().map_or("–", String::as_str),
        gib(status.memory.used),
        gib(status.memory.total),
        gib(status.rootfs.used),
        gib(status.rootfs.total),
        status.cpuinfo.cpus,
        version,
    );
    Ok(Outcome::success(one_line(&summary, 300)).with_data(json!({
        "uptime": status.uptime, "load": load, "memory_used": status.memory.used, "memory_total": status.memory.total,
        "root_used": status.rootfs.used, "root_total": status.rootfs.total, "cores": status.cpuinfo.cpus,
        "cpu": status.cpuinfo.model, "version": version, "kernel": status.kernel.release,
    })))
}

/// node.tasks.
pub(super) fn tasks(client: &Client, node: &str, limit: Option<u64>, errors: bool) -> Result<Outcome, ApiError> {
    let lines: Vec<TaskLine> = client.ask(&cluster::tasks(node, limit.unwrap_or(TASKS).clamp(1, 500), errors))?;
    let failed = lines.iter().filter(|line| line.failed()).count();
    let running = lines.iter().filter(|line| line.endtime.is_none()).count();
    let count = if lines.len() == 1 { "1 task".to_owned() } else { format!("{} tasks", lines.len()) };
    let mut summary = format!("{count}, {failed} failed, {running} running");
    if let Some(last) = lines.iter().find(|line| line.failed()) {
        let ago = u64::try_from(clock::unix_seconds()).unwrap_or_default().saturating_sub(last.starttime);
        let why = one_line(last.status.as_deref().unwrap_or_default(), 120);
        summary = format!("{summary}; the last failure: {} {} {} ago: {why}", last.kind, last.id, span(ago));
    }
    Ok(Outcome::success(one_line(&summary, 300)).with_data(lines))
}

impl TaskLine {
    fn failed(&self) -> bool {
        let fine = |status: &str| status == "OK" || status.starts_with("WARNINGS: ") || status == "RUNNING";
        self.endtime.is_some() && !self.status.as_deref().is_some_and(fine)
    }
}

/// A length of time for people: `17 s`, `5 min`, `3 h`, `12 d`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
