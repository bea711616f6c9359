//! `pvesh`: the API on the command line. It asks the node's own daemon, and waits for the tasks that it starts.

use super::{
    Failure, Outcome,
    cli::{Parsed, Subcommand},
    daemon::{self, Reply},
};
use serde_json::Value;
use std::{collections::BTreeMap, thread, time::Duration};

const VERBS: &[(&str, &str)] =
    &[("get", "GET"), ("create", "POST"), ("set", "PUT"), ("delete", "DELETE"), ("ls", "GET")];

const SHAPE: Subcommand =
    Subcommand { name: "", positional: &["api_path"], extra: false, options: &["*", "noproxy!"], usage: "" };

pub fn run(arguments: &[String]) -> Outcome {
    let verb = arguments.first().map_or("", String::as_str);
    let Some((_, method)) = VERBS.iter().find(|(name, _)| *name == verb) else {
        return Err(Failure::new(format!(
            "ERROR: unknown command 'pvesh {verb}'\nUSAGE: pvesh <COMMAND> [ARGS] [OPTIONS]"
        )));
    };
    let mut parsed = SHAPE.parse("pvesh", &arguments[1..])?;
    let format = parsed.options.remove("output-format").and_then(|mut values| values.pop());
    let path = parsed.positional[0].clone();
    let reply = daemon::call(method, &path, &parameters(&parsed))?;
    if reply.status != 200 {
        return Err(failure(verb, &path, &reply));
    }
    if let Some(upid) = reply.data().as_str().filter(|text| text.starts_with("UPID:")) {
        wait_for(upid)?;
    }
    print(reply.data(), format.as_deref().unwrap_or("text"), verb);
    Ok(0)
}

fn parameters(parsed: &Parsed) -> Vec<(String, String)> {
    let pairs =
        parsed.options.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.clone(), value.clone())));
    pairs.collect()
}

fn failure(verb: &str, path: &str, reply: &Reply) -> Failure {
    let usage = format!("pvesh {verb} <api_path> [OPTIONS] [FORMAT_OPTIONS]");
    let message = reply.message();
    if reply.status == 501 {
        return Failure::with_status(1, format!("No '{verb}' handler defined for '{path}'"));
    }
    if let Some(errors) = reply.body["errors"].as_object() {
        // An option that the path doesn't have is told before anything is asked.
        if let Some((name, _)) =
            errors.iter().find(|(_, text)| text.as_str().is_some_and(|text| text.contains("not defined in schema")))
        {
            return Failure::new(format!("Unknown option: {name}\n400 unable to parse option\n{usage}"));
        }
        let sorted: BTreeMap<&String, &Value> = errors.iter().collect();
        let lines: Vec<String> =
            sorted.iter().map(|(name, text)| format!("{name}: {}", text.as_str().unwrap_or_default())).collect();
        return Failure::new(format!("400 Parameter verification failed.\n{}\n{usage}", lines.join("\n")));
    }
    // Perl's die exits with the last system error's number where there was one.
    let status = if message.starts_with("Configuration file") {
        2
    } else if message.starts_with("hostname lookup") {
        11
    } else {
        255
    };
    Failure::with_status(status, message)
}

/// The task's failure is told, but the exit status stays 0.
fn wait_for(upid: &str) -> Result<(), Failure> {
    let node = upid.split(':').nth(1).unwrap_or_default();
    let path = format!("/nodes/{node}/tasks/{upid}/status");
    loop {
        let reply = daemon::call("GET", &path, &[])?;
        match (reply.data()["status"].as_str(), reply.data()["exitstatus"].as_str()) {
            (Some("running"), _) => thread::sleep(Duration::from_millis(20)),
            (_, Some("OK")) => return Ok(()),
            (_, status) => {
                eprintln!("{}", status.unwrap_or("unexpected status"));
                return Ok(());
            }
        }
    }
}

fn print(data: &Value, format: &str, verb: &str) {
    match (data, format) {
        (Value::Null, _) => {}
        (Value::Array(items), _) if verb == "ls" => {
            for item in items {
                println!("Dr--d        {}", item["vmid"]);
            }
        }
        (_, "json") => println!("{data}"),
        (_, "json-pretty") => println!("{}", pretty(data)),
        (Value::String(text), _) => println!("{text}"),
        (Value::Object(map), _) => table(map.iter()),
        _ => println!("{data}"),
    }
}

/// Perl's JSON writer: three blanks, and blanks around colons.
fn pretty(data: &Value) -> String {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    let _ = serde::Serialize::serialize(data, &mut serializer);
    String::from_utf8_lossy(&text).replace("\": ", "\" : ")
}

/// Keys and values in a box.
pub fn table<'a>(rows: impl Iterator<Item = (&'a String, &'a Value)>) {
    let shown = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let rows: Vec<(String, String)> = rows.map(|(key, value)| (key.clone(), shown(value))).collect();
    let wide = |head: &str, cells: &mut dyn Iterator<Item = &String>| {
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(head.len())
    };
    let (left, right) =
        (wide("key", &mut rows.iter().map(|row| &row.0)), wide("value", &mut rows.iter().map(|row| &row.1)));
    let rule = |[start, fill, middle, end]: [&str; 4]| {
        println!("{start}{}{middle}{}{end}", fill.repeat(left + 2), fill.repeat(right + 2));
    };
    rule(["┌", "─", "┬", "┐"]);
    println!("│ {:<left$} │ {:<right$} │", "key", "value");
    for (place, (key, value)) in rows.iter().enumerate() {
        rule(if place == 0 { ["╞", "═", "╪", "╡"] } else { ["├", "─", "┼", "┤"] });
        println!("│ {key:<left$} │ {value:<right$} │");
    }
    rule(["└", "─", "┴", "┘"]);
}
