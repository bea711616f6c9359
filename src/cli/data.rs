//! The data of an operation's result as people read it: output as text, logs as lines, listings as tables, and anything
//! else by its own shape.

use super::{
    effect, listing,
    screen::{Line, Look, Screen},
    table::{self, Table},
};
use crate::{
    host::text::span,
    model::{Op, messages::NodeRow},
    sys::clock,
};
use serde_json::{Map, Value};

/// Prints the data of one target's result. `streamed`: its output was already shown as it came.
pub fn print(screen: &mut Screen, op: &Op, data: &Value, streamed: bool) {
    match op {
        Op::ExecRun { .. } => output(screen, data, streamed),
        Op::LogsQuery { .. } => {
            let lines = data["lines"].as_array().map_or(&[][..], Vec::as_slice);
            log_lines(screen, lines);
            notes(screen, data);
        }
        // The line says how it stands; its log says why.
        Op::ServiceStatus { .. } => log_lines(screen, data["log"].as_array().map_or(&[][..], Vec::as_slice)),
        // Whether it runs and what it uses is in the line; how it is configured is not.
        Op::GuestStatus {} => settings(screen, data["config"].as_object()),
        Op::NodeList {} => match serde_json::from_value::<Vec<NodeRow>>(data.clone()) {
            Ok(rows) => screen.table(&listing::node_table(&rows)),
            Err(_) => value(screen, data),
        },
        _ => value(screen, data),
    }
}

/// A guest's configuration, as Proxmox writes it.
fn settings(screen: &mut Screen, config: Option<&Map<String, Value>>) {
    let shown = || config.into_iter().flatten().filter(|(key, _)| *key != "digest");
    let wide = shown().map(|(key, _)| table::width(key)).max().unwrap_or_default();
    for (key, value) in shown() {
        let unit = if matches!(key.as_str(), "memory" | "swap" | "balloon") { " MiB" } else { "" };
        let text = format!("  {}{unit}", effect::plain(value).replace('\n', " "));
        screen.line(Line::from("    ").and(Look::Dim, table::padded(key, wide)).plain(text));
    }
}

fn output(screen: &mut Screen, data: &Value, streamed: bool) {
    if !streamed {
        for stream in ["stdout", "stderr"] {
            screen.block(data[stream].as_str().unwrap_or_default());
        }
    }
    if data["truncated"] == Value::Bool(true) {
        screen.note(Line::new().and(Look::Warn, "note:").plain(" the output was longer; only its beginning was kept"));
    }
}

fn log_lines(screen: &mut Screen, lines: &[Value]) {
    for line in lines {
        match line {
            Value::Object(entry) => {
                let field = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
                let look = if matches!(field("priority"), "emerg" | "alert" | "crit" | "err") {
                    Look::Bad
                } else {
                    Look::Plain
                };
                let time = field("time");
                let gap = if time.is_empty() { "" } else { "  " };
                let who =
                    Some(field("who")).filter(|who| !who.is_empty()).map(|who| format!("{who}: ")).unwrap_or_default();
                screen.line(Line::new().and(Look::Dim, format!("{time}{gap}")).plain(who).and(look, field("text")));
            }
            other => screen.line(effect::plain(other)),
        }
    }
}

fn notes(screen: &mut Screen, data: &Value) {
    for note in data["notes"].as_array().map_or(&[][..], Vec::as_slice) {
        screen.note(Line::new().and(Look::Dim, "note:").plain(format!(" {}", effect::plain(note))));
    }
}

/// Any JSON value by its shape.
fn value(screen: &mut Screen, data: &Value) {
    match data {
        Value::Null => {}
        // That there is none is in the line.
        Value::Array(rows) if rows.is_empty() => {}
        Value::Object(object) => fields(screen, object),
        Value::Array(rows) if rows.iter().all(Value::is_object) => rows_table(screen, rows),
        Value::Array(items) => items.iter().for_each(|item| screen.line(effect::plain(item))),
        other => screen.block(&effect::plain(other)),
    }
}

fn fields(screen: &mut Screen, object: &Map<String, Value>) {
    let (short, long): (Vec<_>, Vec<_>) = object.iter().partition(|(_, value)| is_short(value));
    let wide = short.iter().map(|(name, _)| table::width(name)).max().unwrap_or_default();
    for (name, value) in short {
        let text = in_a_line(name, value);
        if !text.is_empty() {
            let name = table::padded(&words(name), wide);
            screen.line(Line::from("  ").and(Look::Dim, name).plain(format!("  {text}")));
        }
    }
    for (name, value) in long {
        match value {
            Value::String(text) => screen.block(text),
            Value::Array(rows) if name == "log" || name == "lines" => log_lines(screen, rows),
            Value::Array(rows) => {
                if object.len() > 1 {
                    screen.line(Line::from("  ").and(Look::Dim, words(name)));
                }
                rows_table(screen, rows);
            }
            other => {
                screen.line(Line::from("  ").and(Look::Dim, words(name)));
                self::value(screen, other);
            }
        }
    }
}

/// Whether it fits a line beside its name.
fn is_short(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.iter().any(Value::is_object),
        Value::Object(inner) => inner.values().all(|value| !value.is_object() && !value.is_array() && is_short(value)),
        Value::String(text) => !text.contains('\n'),
        _ => true,
    }
}

fn in_a_line(name: &str, value: &Value) -> String {
    match value {
        Value::Object(inner) => {
            let fields = inner.iter().map(|(name, value)| format!("{} {}", words(name), figure(name, value)));
            fields.collect::<Vec<_>>().join(", ")
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            items.iter().map(|item| in_a_line(name, item)).collect::<Vec<_>>().join("; ")
        }
        other => figure(name, other),
    }
}

/// A value with the unit that its name tells: amounts of bytes, durations and times as people write them.
fn figure(name: &str, value: &Value) -> String {
    const AMOUNTS: &[&str] =
        &["total", "used", "available", "free", "size", "rss", "memory", "swap_total", "swap_used"];
    const TIMES: &[&str] = &["time", "taken", "snaptime", "starttime", "endtime", "ctime"];
    let rate = name.ends_with("per_second");
    let amount = rate || AMOUNTS.contains(&name) || name.ends_with("bytes");
    match (value.as_u64(), value.as_f64()) {
        (Some(seconds), _) if TIMES.contains(&name) && seconds > 1_000_000_000 => {
            i64::try_from(seconds).map_or_else(|_| effect::plain(value), clock::local_minute)
        }
        (_, Some(number)) if name.ends_with("seconds") && number >= 60.0 => span(number),
        (_, Some(number)) if amount && number >= 1024.0 => {
            format!("{}{}", size(number), if rate { "/s" } else { "" })
        }
        // A tenth is as much as anybody reads of a measured number.
        (None, Some(number)) => format!("{number:.1}").trim_end_matches(".0").to_owned(),
        _ => effect::plain(value),
    }
}

/// `512 KiB`, `23.5 GiB`.
fn size(bytes: f64) -> String {
    let (unit, whole) = [("TiB", 40), ("GiB", 30), ("MiB", 20)]
        .into_iter()
        .map(|(unit, shift)| (unit, f64::from(2_u32).powi(shift)))
        .find(|(_, whole)| bytes >= *whole)
        .unwrap_or(("KiB", 1024.0));
    let amount = bytes / whole;
    if amount >= 100.0 { format!("{amount:.0} {unit}") } else { format!("{amount:.1} {unit}") }
}

fn rows_table(screen: &mut Screen, rows: &[Value]) {
    let rows: Vec<Vec<(String, String)>> = rows.iter().filter_map(Value::as_object).map(cells).collect();
    let mut names: Vec<&String> = Vec::new();
    for (name, text) in rows.iter().flatten() {
        // A column that is empty in every row tells nothing.
        if !text.is_empty() && !names.contains(&name) {
            names.push(name);
        }
    }
    let importance = |index: usize| u8::try_from(index).unwrap_or(u8::MAX);
    let headings = names.iter().enumerate().map(|(index, name)| (name.to_uppercase(), importance(index)));
    let mut table = Table::owned(headings.collect());
    for row in &rows {
        let cell = |wanted: &String| row.iter().find(|(name, _)| name == wanted).map(|(_, text)| text.clone());
        table.row(names.iter().map(|name| cell(name).unwrap_or_default()).collect());
    }
    screen.table(&table);
}

/// The cells of a row by their columns' names; the fields of an object within it are columns of their own.
fn cells(row: &Map<String, Value>) -> Vec<(String, String)> {
    let cell = |(name, value): (&String, &Value)| (words(name), figure(name, value));
    row.iter()
        .flat_map(|(name, value)| match value {
            Value::Object(inner) => inner.iter().map(cell).collect(),
            _ => vec![cell((name, value))],
        })
        .collect()
}

/// `memory_mib` → `memory mib`.
fn words(name: &str) -> String {
    name.replace('_', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::screen;
    use serde_json::json;

    fn shown(op: &Op, data: &Value) -> String {
        let (mut screen, out, err) = screen("");
        print(&mut screen, op, data, false);
        screen.flush();
        format!("\n{}{}", out.text(), err.text())
    }

    #[test]
    fn output_is_text_without_escapes() {
        let op = Op::ExecRun { command: "ls".into(), timeout: None };
        let data = json!({"exit_code": 0, "stdout": "\u{1b}[31ma\u{1b}[0m\nb\n", "stderr": "oops", "truncated": true});
        assert_eq!(shown(&op, &data), "\na\nb\noops\nnote: the output was longer; only its beginning was kept\n");
    }

    #[test]
    fn where_there_is_none_no_line_is_printed() {
        assert_eq!(shown(&Op::GuestSnapshots {}, &json!([])), "\n");
    }

    #[test]
    fn a_guests_settings_are_told_as_proxmox_writes_them() {
        let data = json!({"status": "stopped", "config": {"memory": 1024, "digest": "9cf8", "tags": "web"}});
        assert_eq!(shown(&Op::GuestStatus {}, &data), "\n    memory  1024 MiB\n    tags    web\n");
    }

    #[test]
    fn amounts_have_their_unit() {
        let data = json!({"memory": {"total": 25_276_510_208_u64, "used": 1_319_866}, "pid": 4_194_304, "received_bytes": 900});
        assert_eq!(
            shown(&Op::SystemMetrics {}, &data),
            "\n  memory          total 23.5 GiB, used 1.3 MiB\n  pid             4194304\n  received bytes  900\n"
        );
        assert_eq!([size(1024.0), size(161_061_273_600.0), size(1e19)], ["1.0 KiB", "150 GiB", "9094947 TiB"]);
    }

    #[test]
    fn durations_times_and_rates_are_for_people() {
        let data = json!({"up_seconds": 1_746_042.292, "interval_seconds": 0.4, "cpu_percent": 4.3999, "cores": 1,
            "sent_per_second": 157_678.0, "snaptime": 12});
        insta::assert_snapshot!(shown(&Op::SystemMetrics {}, &data), @"
          up seconds        20 d 5 h
          interval seconds  0.4
          cpu percent       4.4
          cores             1
          sent per second   154 KiB/s
          snaptime          12
        ");
        let time = figure("snaptime", &json!(1_780_000_000));
        assert!(time.starts_with("2026-05-2") && time.len() >= 16, "{time}");
    }

    #[test]
    fn the_fields_of_an_object_in_a_row_are_columns() {
        let data = json!({"filesystems": [
            {"source": "rpool", "usage": {"total": 17_179_869_184_u64, "percent": 57.8}},
            {"source": "tmpfs", "usage": {"total": 2048, "percent": 0.0}, "note": ""}]});
        insta::assert_snapshot!(shown(&Op::SystemMetrics {}, &data), @"
        SOURCE    TOTAL       PERCENT
        rpool     16.0 GiB    57.8
        tmpfs     2.0 KiB     0
        ");
    }

    #[test]
    fn moments_are_local_time_and_what_is_inside_of_a_cell_is_no_json() {
        let rows = json!([{"name": "before", "taken": 1_795_336_444, "space": {"used": 1 << 30, "free": null}}]);
        let wanted = clock::local_minute(1_795_336_444);
        let text = shown(&Op::GuestSnapshots {}, &rows);
        assert!(text.contains(&format!("before    {wanted}")), "{text}");
        assert!(text.contains("USED") && text.contains("1.0 GiB") && !text.contains('{'), "{text}");
    }

    #[test]
    fn logs_are_lines() {
        let op = Op::LogsQuery {
            service: None,
            path: None,
            since: None,
            until: None,
            priority: None,
            grep: None,
            lines: None,
        };
        let entry =
            json!({"time": "2026-11-22T12:00:00Z", "priority": "err", "who": "nginx[812]", "text": "bind() failed"});
        let data =
            json!({"source": "journal", "lines": [entry, "plain"], "notes": ["nothing older"], "truncated": false});
        insta::assert_snapshot!(shown(&op, &data), @"
        2026-11-22T12:00:00Z  nginx[812]: bind() failed
        plain
        note: nothing older
        ");
    }

    #[test]
    fn listings_are_tables_and_the_rest_is_fields() {
        let services = json!({"services": [
            {"name": "nginx", "description": "", "state": "running", "startup": "enabled", "pid": 812},
            {"name": "cron", "description": "", "state": "failed", "startup": "", "pid": null}]});
        insta::assert_snapshot!(shown(&Op::ServiceList {}, &services), @"
        NAME     STATE      STARTUP    PID
        nginx    running    enabled    812
        cron     failed     –          –
        ");
        let info = json!({"hostname": "web", "os": {"id": "ubuntu", "version": "24.04"}, "addresses": ["10.0.0.1", "fd00::1"],
            "log": [{"time": "", "who": "cron[1]", "text": "hi", "priority": ""}], "motd": "two\nlines", "none": null});
        insta::assert_snapshot!(shown(&Op::SystemInfo {}, &info), @"
          hostname   web
          os         id ubuntu, version 24.04
          addresses  10.0.0.1, fd00::1
        cron[1]: hi
        two
        lines
        ");
    }
}
