//! Where something goes when nobody says: the storage with the most room, the node with the most free memory.

use super::{
    client::Client,
    error::ApiError,
    guest::{Failed, told},
    requests::{cluster, storage},
    resources::{Resource, StorageLine, Volume},
};
use crate::{
    model::{Outcome, target::Vmid},
    sys::text::one_line,
};

/// A node's storages that are there and may hold that kind of thing, the roomiest first.
pub(super) fn storages(client: &Client, node: &str, content: &str) -> Result<Vec<StorageLine>, ApiError> {
    let mut there: Vec<StorageLine> = client.ask(&storage::that_hold(node, content))?;
    there.retain(|storage| storage.active);
    there.sort_by(|one, other| other.avail.cmp(&one.avail).then_with(|| one.storage.cmp(&other.storage)));
    Ok(there)
}

/// The storage that was named, if it will do; the roomiest where none was, if it has room for so many bytes. A named one may
/// be given more than it has: thin ones are.
pub(super) fn storage(
    client: &Client,
    node: &str,
    content: &str,
    named: Option<&str>,
    needs: u64,
) -> Result<StorageLine, Failed> {
    let there = storages(client, node, content)?;
    let able: Vec<&str> = there.iter().map(|storage| storage.storage.as_str()).collect();
    let help = match able[..] {
        [] => format!("`remotectl run storage.list node/{node}` shows what each storage may hold"),
        _ => format!("on {node} these may: {}", able.join(", ")),
    };
    let chosen = match named {
        Some(name) => there.iter().find(|storage| storage.storage == name),
        None => there.first(),
    };
    let Some(chosen) = chosen else {
        let what = named.map_or_else(|| "no storage".to_owned(), |name| format!("storage {}: it", one_line(name, 60)));
        let outcome = Outcome::rejected(format!("{what} can't hold {content} on {node}"));
        return Err(told(outcome.with_help(help)));
    };
    if named.is_none() && chosen.avail < needs {
        let (free, needs) = (chosen.avail >> 30, needs.div_ceil(1 << 30));
        let outcome = Outcome::rejected(format!("{} has {free} GiB left, and {needs} are needed", chosen.storage));
        return Err(told(outcome.with_help(format!("name the `storage` to use it all the same: {help}"))));
    }
    Ok(chosen.clone())
}

/// Nodes that are up, the one with the most free memory first.
pub(super) fn nodes(lines: &[Resource]) -> Vec<(&str, u64)> {
    let up = lines.iter().filter(|line| line.kind == "node" && line.status == "online");
    let mut nodes: Vec<(&str, u64)> =
        up.map(|line| (line.node.as_str(), line.maxmem.saturating_sub(line.mem))).collect();
    nodes.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(other.0)));
    nodes
}

/// A vmid for a new guest: the one that was named, if it is free; the lowest free one where none was.
pub(super) fn vmid(client: &Client, lines: &[Resource], named: Option<u64>) -> Result<Vmid, Failed> {
    let Some(wanted) = named else {
        let free: String = client.ask(&cluster::next_id())?;
        let error = |_| ApiError::Answer { doing: cluster::next_id().doing(), why: "not a vmid".to_owned() };
        return Ok(free.parse().map_err(error)?);
    };
    let id = Vmid::try_from(wanted).ok().filter(|id| (100..=999_999_999).contains(id));
    let Some(id) = id else {
        let outcome = Outcome::rejected(format!("{wanted} can't be a vmid"));
        return Err(told(outcome.with_help("a vmid is a number from 100 to 999999999")));
    };
    match lines.iter().find(|line| line.guest().is_some_and(|(_, there)| there == id)) {
        None => Ok(id),
        Some(taken) => {
            let outcome = Outcome::rejected(format!("{id} is taken by {}", one_line(&taken.name, 60)));
            Err(told(outcome.with_help("leave `newid` out, and the next free one is used")))
        }
    }
}

/// Everything of that kind that a node has at hand, by volume id.
pub(super) fn volumes(client: &Client, node: &str, content: &str) -> Result<Vec<Volume>, ApiError> {
    let mut volumes: Vec<Volume> = Vec::new();
    for there in storages(client, node, content)? {
        let held: Vec<Volume> = client.ask(&storage::content(node, &there.storage, content, None))?;
        volumes.extend(held);
    }
    volumes.sort_by(|one, other| one.volid.cmp(&other.volid));
    Ok(volumes)
}

/// The file's name in a volume id: `local:vztmpl/x.tar.zst` is `x.tar.zst`.
pub(super) fn file(volid: &str) -> &str {
    volid.rsplit(['/', ':']).next().unwrap_or(volid)
}
