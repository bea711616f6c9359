//! Other people's text made fit for our lines: what services log and processes are called is data, and must not draw on
//! the operator's terminal.

/// The most characters of a line that go into a summary.
const LONGEST: usize = 240;
/// The most characters of a log entry that are kept.
const LONGEST_ENTRY: usize = 8 << 10;

/// A line for a summary: no control characters, no colours, cut where it gets long.
pub fn clean(line: &str) -> String {
    cut(&plain(line), LONGEST)
}

/// A log entry, however many lines it has, in one.
pub fn printable(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().split('\n').map(plain).collect();
    cut(&lines.join(" ⏎ "), LONGEST_ENTRY)
}

/// A length of time for people: `0.6 s`, `42 s`, `5 min`, `3 h 20 min`, `2 d 4 h`.
pub fn span(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{:.1} s", seconds.max(0.0));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 10, and `as` saturates")]
    let whole = seconds as u64;
    match whole {
        0..=119 => format!("{whole} s"),
        120..=7_199 => format!("{} min", whole / 60),
        7_200..=172_799 => format!("{} h {} min", whole / 3_600, whole % 3_600 / 60),
        _ => format!("{} d {} h", whole / 86_400, whole % 86_400 / 3_600),
    }
}

/// An amount of bytes for people, in binary units: `512 B`, `12 MiB`, `3.4 GiB`.
pub fn amount(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (rest, whole, unit) = (whole % 1024, whole / 1024, unit + 1);
    }
    if unit == 0 || whole >= 10 {
        format!("{whole} {}", UNITS[unit])
    } else {
        format!("{whole}.{} {}", rest * 10 / 1024, UNITS[unit])
    }
}

fn plain(line: &str) -> String {
    let mut text = String::new();
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        if char == '\u{1b}' {
            // The rest of a colour or a cursor movement: up to the letter that ends it.
            if chars.next() == Some('[') {
                chars.by_ref().find(|char| char.is_ascii_alphabetic() || *char == '~');
            }
        } else if char == '\t' {
            text.push(' ');
        } else if !char.is_control() && !is_unseen(char) {
            text.push(char);
        }
    }
    text.trim().to_owned()
}

/// Characters that turn the reading direction or are not seen: they make a text look like another.
fn is_unseen(char: char) -> bool {
    matches!(char, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn cut(text: &str, longest: usize) -> String {
    match text.char_indices().nth(longest) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_can_not_draw_on_the_terminal() {
        assert_eq!(clean("\u{1b}[31mred\u{1b}[0m \u{7}bell\tand \u{202e}tfel"), "red bell and tfel");
        assert_eq!(clean(&"x".repeat(1000)).chars().count(), LONGEST + 1);
        assert_eq!(printable("one\n  two\u{9b}\n"), "one ⏎ two");
    }

    #[test]
    fn spans_and_amounts_read_well() {
        let read: Vec<String> = [0.04, 3.21, 42.9, 500.0, 12_000.0, 187_300.0].into_iter().map(span).collect();
        assert_eq!(read, ["0.0 s", "3.2 s", "42 s", "8 min", "3 h 20 min", "2 d 4 h"]);
        let read: Vec<String> = [0, 1023, 1536, 12 << 20, u64::MAX].into_iter().map(amount).collect();
        assert_eq!(read, ["0 B", "1023 B", "1.5 KiB", "12 MiB", "16777215 TiB"]);
    }
}
