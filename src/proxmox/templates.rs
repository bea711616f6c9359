//! Container templates and ISO images: what nodes have at hand, what can be downloaded, and downloading it.

use super::{
    client::Client,
    guest::{Failed, told},
    lenient,
    making::set_going,
    requests::{cluster, storage},
    resources::{Resource, Volume},
    space,
};
use crate::{
    model::Outcome,
    sys::{task::Task, text::one_line},
};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Something that a guest can be made from.
#[derive(Serialize)]
struct AtHand {
    node: String,
    volume: String,
    size: u64,
}

/// A template that can be downloaded.
#[derive(Serialize, Deserialize)]
struct Appliance {
    #[serde(default)]
    template: String,
    #[serde(default, deserialize_with = "lenient::text")]
    headline: String,
    #[serde(default, deserialize_with = "lenient::text")]
    os: String,
    #[serde(default, deserialize_with = "lenient::text")]
    section: String,
}

/// template.list, of one node or of all.
pub(super) fn list(client: &Client, node: Option<&str>) -> Result<Outcome, Failed> {
    let nodes = nodes(client, node)?;
    let (mut templates, mut isos) = (Vec::new(), Vec::new());
    for node in &nodes {
        templates.extend(at_hand(client, node, "vztmpl")?);
        isos.extend(at_hand(client, node, "iso")?);
    }
    let first = nodes.first().map(String::as_str).unwrap_or_default();
    let available = appliances(client, first)?;
    let summary = format!(
        "{} container templates and {} ISO images at hand, {} templates to download",
        templates.len(),
        isos.len(),
        available.len()
    );
    Ok(Outcome::success(summary).with_data(json!({"templates": templates, "isos": isos, "available": available})))
}

/// template.download.
pub(super) fn download(
    client: &Client,
    node: Option<&str>,
    template: &str,
    named: Option<&str>,
    task: &Task,
) -> Result<Outcome, Failed> {
    let nodes = nodes(client, node)?;
    let node = nodes.first().map(String::as_str).unwrap_or_default();
    let there = space::volumes(client, node, "vztmpl")?;
    let available = appliances(client, node)?;
    // What can be downloaded is looked for like what is at hand: by its file's name, or the newest that begins so.
    let files: Vec<Volume> =
        available.iter().map(|appliance| Volume { volid: appliance.template.clone(), ..Volume::default() }).collect();
    let Some(wanted) = super::making::pick(&files, template).map(|found| found.volid.clone()) else {
        let outcome = Outcome::rejected(format!("there is no template {} to download", one_line(template, 80)));
        return Err(told(outcome.with_help("`remotectl run template.list cluster` lists them")));
    };
    if let Some(volume) = there.iter().find(|volume| space::file(&volume.volid) == wanted) {
        let summary = format!("{wanted} was at hand already");
        return Ok(Outcome::success(summary).with_data(json!({"volume": volume.volid, "node": node})));
    }
    let storage = space::storage(client, node, "vztmpl", named, 0)?;
    let call = storage::download(node, &storage.storage, &wanted);
    let upid = set_going(client, &call, node, None, task, "download")?;
    let there = space::volumes(client, node, "vztmpl")?;
    let Some(volume) = there.iter().find(|volume| space::file(&volume.volid) == wanted) else {
        let outcome = Outcome::failure(format!("Proxmox's task succeeded, but {wanted} is not on {}", storage.storage));
        return Err(told(outcome.with_help("`remotectl run template.list cluster` lists what is")));
    };
    let summary = format!("{wanted} is on {} now, {} MiB", storage.storage, volume.size.div_ceil(1 << 20));
    Ok(Outcome::success(summary).with_data(json!({"volume": volume.volid, "node": node, "task": upid})))
}

fn nodes(client: &Client, node: Option<&str>) -> Result<Vec<String>, Failed> {
    if let Some(node) = node {
        return Ok(vec![node.to_owned()]);
    }
    let lines: Vec<Resource> = client.ask(&cluster::resources())?;
    let nodes: Vec<String> = space::nodes(&lines).into_iter().map(|(node, _)| node.to_owned()).collect();
    if nodes.is_empty() {
        return Err(told(Outcome::rejected("no node is online").with_help("`remotectl nodes` lists them all")));
    }
    Ok(nodes)
}

fn at_hand(client: &Client, node: &str, content: &str) -> Result<Vec<AtHand>, Failed> {
    let volumes = space::volumes(client, node, content)?;
    let line =
        |volume: Volume| AtHand { node: node.to_owned(), volume: one_line(&volume.volid, 255), size: volume.size };
    Ok(volumes.into_iter().map(line).collect())
}

fn appliances(client: &Client, node: &str) -> Result<Vec<Appliance>, Failed> {
    let mut available: Vec<Appliance> = client.ask(&storage::appliances(node))?;
    available.retain(|one| !one.template.is_empty());
    for one in &mut available {
        one.headline = one_line(&one.headline, 120);
    }
    available.sort_by(|one, other| one.template.cmp(&other.template));
    Ok(available)
}
