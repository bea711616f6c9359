//! Timed rows, other figures, and how they are shown: a table for people, JSON for machines.

use crate::memory::Memory;
use serde_json::{Value, json};
use std::{fs, path::Path, time::Instant};

/// What was measured, in order.
#[derive(Default)]
pub struct Report {
    figures: Vec<Value>,
    left_out: Vec<String>,
}

/// Something that is done again and again, and how long it took, in milliseconds.
pub struct Row<'a> {
    name: &'static str,
    act: Box<dyn FnMut() + 'a>,
    each: usize,
    took: Vec<f64>,
}

impl<'a> Row<'a> {
    /// Does it once already: the first time pays for what all the others share.
    pub fn new(name: &'static str, act: impl FnMut() + 'a) -> Self {
        let mut row = Self { name, act: Box::new(act), each: 1, took: Vec::new() };
        (row.act)();
        row
    }

    /// Takes part in each so-many-th round only, because it is slow.
    pub fn each(mut self, rounds: usize) -> Self {
        self.each = rounds.max(1);
        self
    }

    fn round(&mut self, round: usize) {
        if round.is_multiple_of(self.each) {
            let begun = Instant::now();
            (self.act)();
            self.took.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
}

impl Report {
    /// Runs rows by turns, so that a busy machine is busy for all; the first is what the others are compared with.
    pub fn race(&mut self, section: &str, mut rows: Vec<Row>, rounds: usize) {
        for round in 0..rounds {
            for row in &mut rows {
                row.round(round);
            }
        }
        let mut base = None;
        for row in &mut rows {
            row.took.sort_by(f64::total_cmp);
            let at = |share: usize| row.took[(row.took.len() - 1) * share / 100];
            let ratio = at(50) / *base.get_or_insert(at(50));
            self.figures.push(json!({
                "section": section, "name": row.name, "rounds": row.took.len(),
                "median_ms": at(50), "p95_ms": at(95), "ratio": ratio,
            }));
        }
    }

    /// The memory of a process.
    pub fn memory(&mut self, name: &str, memory: Memory) {
        self.figures.push(json!({
            "section": "memory", "name": name, "kib": memory.resident, "own_kib": memory.own, "file_kib": memory.file,
        }));
    }

    /// A number of KiB.
    pub fn kib(&mut self, name: &str, kib: u64) {
        self.figures.push(json!({"section": "memory", "name": name, "kib": kib}));
    }

    /// A time that was measured once.
    pub fn milliseconds(&mut self, section: &str, name: &str, took: f64) {
        self.figures.push(json!({"section": section, "name": name, "ms": took}));
    }

    /// A number of bytes.
    pub fn bytes(&mut self, section: &str, name: &str, bytes: u64) {
        self.figures.push(json!({"section": section, "name": name, "bytes": bytes}));
    }

    /// Something that this machine may lack; the reason is kept.
    pub fn optional<T>(&mut self, what: &str, found: Result<T, String>) -> Option<T> {
        found.map_err(|why| self.left_out.push(format!("{what}: {why}"))).ok()
    }

    /// Prints a table, section by section.
    pub fn print(&self) {
        let mut sections: Vec<&Value> = Vec::new();
        for row in &self.figures {
            if !sections.contains(&&row["section"]) {
                sections.push(&row["section"]);
            }
        }
        for section in sections {
            println!("\n{}", section.as_str().unwrap());
            for row in self.figures.iter().filter(|row| row["section"] == *section) {
                println!("  {:<34} {}", row["name"].as_str().unwrap(), figures(row));
            }
        }
        println!();
        self.left_out.iter().for_each(|what| println!("left out: {what}"));
    }

    /// Writes all of it as JSON.
    pub fn write(&self, path: &Path) {
        let report = json!({"figures": self.figures, "left_out": self.left_out});
        fs::write(path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
        println!("written to {}", path.display());
    }
}

fn figures(row: &Value) -> String {
    let number = |key: &str| row[key].as_f64();
    if let (Some(median), Some(p95), Some(ratio)) = (number("median_ms"), number("p95_ms"), number("ratio")) {
        return format!("{median:>9.2} ms   p95 {p95:>9.2} ms   × {ratio:<7.2} ({} rounds)", row["rounds"]);
    }
    if let Some(took) = number("ms") {
        return format!("{took:>9.2} ms");
    }
    if let Some(bytes) = number("bytes") {
        return format!("{:>9.2} MB", bytes / 1e6);
    }
    let kib = number("kib").unwrap_or_default();
    let parts = number("own_kib").zip(number("file_kib"));
    let parts = parts.map(|(own, file)| format!("  {:>6.2} its own, {:.2} of its file", own / 1024.0, file / 1024.0));
    if kib < 1024.0 {
        format!("{kib:>9.0} KiB")
    } else {
        format!("{:>9.2} MiB{}", kib / 1024.0, parts.unwrap_or_default())
    }
}
