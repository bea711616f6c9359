//! Tables without borders that fit the terminal: the least important columns go first, then the widest are cut with `…`.
//! Where standard output is no terminal, everything is there, in columns that do not move.

use super::{screen::Line, text};
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// What parts two columns.
const GAP: usize = 4;
/// The gap of a narrow terminal.
const NARROW_GAP: usize = 2;
/// No column is cut below this width, nor below its heading's, before a less important one goes.
const LEAST: usize = 8;
/// A column as wide as this is legible, however long its longest cell.
const LEGIBLE: usize = 20;

/// A column: its heading, and how soon it goes when room gets scarce (0 stays to the last).
pub type Column<'a> = (&'a str, u8);

/// A table.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<(String, u8)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    pub fn new(columns: &[Column]) -> Self {
        Self::owned(columns.iter().map(|(name, goes)| ((*name).to_owned(), *goes)).collect())
    }

    /// An empty table whose headings are made at run time.
    pub fn owned(columns: Vec<(String, u8)>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row of as many cells as there are columns; an empty cell shows as `–`.
    pub fn row(&mut self, cells: Vec<String>) {
        let shown = |cell: String| if cell.is_empty() { "–".to_owned() } else { text::safe(&cell).into_owned() };
        self.rows.push(cells.into_iter().map(shown).collect());
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The lines of the table, heading first, for a terminal of that width.
    pub fn lines(&self, width: Option<usize>) -> Vec<Line> {
        let mut shown: Vec<(usize, usize)> =
            (0..self.columns.len()).map(|index| (index, self.natural(index))).collect();
        let mut gap = GAP;
        if let Some(width) = width {
            if total(&shown, gap) > width {
                gap = NARROW_GAP;
            }
            self.fit(&mut shown, gap, width);
        }
        let heading: Vec<String> = self.columns.iter().map(|(name, _)| text::safe(name).into_owned()).collect();
        std::iter::once(&heading).chain(&self.rows).map(|cells| Line::from(draw(cells, &shown, gap))).collect()
    }

    fn natural(&self, index: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(index)).map(|cell| cell.width());
        cells.chain([self.columns[index].0.width()]).max().unwrap_or_default()
    }

    /// The width when every column is cut as far as it may be.
    fn least(&self, shown: &[(usize, usize)], gap: usize) -> usize {
        let cut = |(index, wide): &(usize, usize)| {
            let legible = (wide * 2 / 3).clamp(LEAST, LEGIBLE).max(self.columns[*index].0.width());
            (*index, legible.min(*wide))
        };
        total(&shown.iter().map(cut).collect::<Vec<_>>(), gap)
    }

    fn fit(&self, shown: &mut Vec<(usize, usize)>, gap: usize, width: usize) {
        while shown.len() > 1 && self.least(shown, gap) > width {
            let importance = |(index, _): &(usize, usize)| self.columns[*index].1;
            let Some(out) =
                shown.iter().rposition(|column| Some(importance(column)) == shown.iter().map(importance).max())
            else {
                break;
            };
            shown.remove(out);
        }
        while total(shown, gap) > width {
            // A heading is cut last.
            let spare = |(index, wide): &(usize, usize)| (*wide > self.columns[*index].0.width(), *wide);
            let Some(widest) = shown.iter_mut().max_by_key(|column| spare(column)).filter(|(_, wide)| *wide > 1) else {
                break;
            };
            widest.1 -= 1;
        }
    }
}

fn total(shown: &[(usize, usize)], gap: usize) -> usize {
    shown.iter().map(|(_, wide)| wide).sum::<usize>() + gap * shown.len().saturating_sub(1)
}

fn draw(cells: &[String], shown: &[(usize, usize)], gap: usize) -> String {
    let mut line = String::new();
    for (index, wide) in shown {
        let cell = cut(cells.get(*index).map_or("", String::as_str), *wide);
        let padding = (wide + gap).saturating_sub(cell.width());
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', padding));
    }
    line.truncate(line.trim_end().len());
    line
}

/// The text in at most so many columns, the last one an ellipsis where something is missing.
pub fn cut(text: &str, wide: usize) -> String {
    if text.width() <= wide {
        return text.to_owned();
    }
    let mut room = wide.saturating_sub(1);
    let mut kept = String::new();
    for letter in text.chars() {
        let needs = letter.width().unwrap_or_default();
        if needs > room {
            break;
        }
        room -= needs;
        kept.push(letter);
    }
    kept.push('…');
    kept
}

/// The text, followed by as many spaces as it takes to fill so many columns.
pub fn padded(text: &str, wide: usize) -> String {
    let text = text::safe(text);
    let padding = wide.saturating_sub(text.width());
    format!("{text}{}", " ".repeat(padding))
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    text::safe(text).width()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guests() -> Table {
        let mut table = Table::new(&[("GUEST", 0), ("NAME", 0), ("NODE", 2), ("STATE", 1), ("OS", 4), ("AGENT", 3)]);
        for (guest, name, agent) in [("ct/118", "web-server", "1.0.0"), ("ct/119", "日本語-with-a-long-name", "none")]
        {
            let cells = [guest, name, "pve1", "running", "Ubuntu 24.04", agent];
            table.row(cells.map(str::to_owned).to_vec());
        }
        table.row(["ct/121", "wi\u{1b}[2Jki", "pve3", "stopped", "", "none: stopped"].map(str::to_owned).to_vec());
        table
    }

    fn text(width: Option<usize>) -> String {
        let lines: Vec<String> = guests().lines(width).iter().map(|line| line.render(false)).collect();
        format!("\n{}\n", lines.join("\n"))
    }

    #[test]
    fn a_table_without_a_terminal_has_everything() {
        insta::assert_snapshot!(text(None), @"
        GUEST     NAME                       NODE    STATE      OS              AGENT
        ct/118    web-server                 pve1    running    Ubuntu 24.04    1.0.0
        ct/119    日本語-with-a-long-name    pve1    running    Ubuntu 24.04    none
        ct/121    wiki                       pve3    stopped    –               none: stopped
        ");
    }

    #[test]
    fn a_narrow_terminal_drops_columns_and_cuts() {
        insta::assert_snapshot!(text(Some(72)), @"
        GUEST   NAME                  NODE  STATE    OS            AGENT
        ct/118  web-server            pve1  running  Ubuntu 24.04  1.0.0
        ct/119  日本語-with-a-long-…  pve1  running  Ubuntu 24.04  none
        ct/121  wiki                  pve3  stopped  –             none: stopped
        ");
        insta::assert_snapshot!(text(Some(40)), @"
        GUEST   NAME               NODE  STATE
        ct/118  web-server         pve1  running
        ct/119  日本語-with-a-lo…  pve1  running
        ct/121  wiki               pve3  stopped
        ");
        for width in 1..100 {
            for line in guests().lines(Some(width)) {
                let line = line.render(false);
                assert!(line.width() <= width.max(3), "{width}: {line:?}");
            }
        }
    }
}
