//! Lines for narrow terminals: broken where they have gaps, then between words, with what follows below its beginning.

use super::screen::Look;
use unicode_width::UnicodeWidthChar as _;

/// A letter and how it looks.
pub type Letter = (Look, char);

/// The gap between two parts of a line that had to be folded.
const GAP: usize = 2;

/// A line in lines of at most so many columns; one that fits stays as it is.
pub fn fold(letters: &[Letter], wide: usize) -> Vec<Vec<Letter>> {
    if width(letters) <= wide {
        return vec![letters.to_vec()];
    }
    let indent = letters.iter().take_while(|(_, letter)| *letter == ' ').count();
    let parts = parts(&letters[indent..]);
    let further = if parts.len() > 1 { indent + 2 } else { indent };
    let mut folded = Folded { lines: vec![spaces(indent)], empty: true, within: false, further, wide };
    for words in parts {
        let whole: usize = words.iter().map(|word| width(word) + 1).sum::<usize>().saturating_sub(1);
        folded.make_room(whole, GAP);
        for word in words {
            // A part that begins behind another is apart from it; its own words are not.
            let gap = if folded.within { 1 } else { GAP };
            folded.make_room(width(&word), gap);
            folded.put(&word, gap);
        }
        folded.within = false;
    }
    folded.lines
}

struct Folded {
    lines: Vec<Vec<Letter>>,
    /// Whether the last line has nothing but its indent.
    empty: bool,
    /// Whether the last word belongs to the part that is being put.
    within: bool,
    further: usize,
    wide: usize,
}

impl Folded {
    /// Begins a new line where the last one has no room for so much.
    fn make_room(&mut self, columns: usize, gap: usize) {
        let used = self.lines.last().map_or(0, |line| width(line));
        if !self.empty && used + gap + columns > self.wide {
            self.lines.push(spaces(self.further));
            (self.empty, self.within) = (true, false);
        }
    }

    fn put(&mut self, word: &[Letter], gap: usize) {
        if let Some(line) = self.lines.last_mut() {
            if !self.empty {
                line.extend(spaces(gap));
            }
            line.extend(word);
        }
        (self.empty, self.within) = (false, true);
    }
}

/// The words of each part; parts are what stands between gaps of two spaces and more.
fn parts(letters: &[Letter]) -> Vec<Vec<Vec<Letter>>> {
    let mut parts = vec![vec![Vec::new()]];
    let mut gap = 0;
    for letter in letters {
        if letter.1 == ' ' {
            gap += 1;
            continue;
        }
        match gap {
            0 => {}
            1 => parts.last_mut().expect("there is one from the beginning").push(Vec::new()),
            _ => parts.push(vec![Vec::new()]),
        }
        gap = 0;
        let word = parts.last_mut().and_then(|words| words.last_mut());
        word.expect("a part begins with a word").push(*letter);
    }
    parts
}

fn spaces(count: usize) -> Vec<Letter> {
    vec![(Look::Plain, ' '); count]
}

fn width(letters: &[Letter]) -> usize {
    letters.iter().map(|(_, letter)| letter.width().unwrap_or_default()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str, wide: usize) -> String {
        let letters: Vec<Letter> = text.chars().map(|letter| (Look::Plain, letter)).collect();
        let lines = fold(&letters, wide);
        assert!(lines.iter().all(|line| width(line) <= wide || !line.iter().any(|letter| letter.1 == ' ')));
        lines.iter().map(|line| line.iter().map(|letter| letter.1).collect::<String>() + "\n").collect()
    }

    #[test]
    fn gaps_break_first_then_words() {
        let step = "  service.restart nginx    ct/118 web-server on pve1    high: medium, +1 production";
        assert_eq!(folded(step, 100), format!("{step}\n"));
        assert_eq!(
            folded(step, 40),
            "  service.restart nginx\n    ct/118 web-server on pve1\n    high: medium, +1 production\n"
        );
        assert_eq!(
            folded(step, 24),
            "  service.restart nginx\n    ct/118 web-server on\n    pve1\n    high: medium, +1\n    production\n"
        );
        let row = "    ct/119 web-staging    pve2    Ubuntu 22.04";
        assert_eq!(folded(row, 42), "    ct/119 web-staging  pve2  Ubuntu 22.04\n");
    }

    #[test]
    fn prose_keeps_its_indent_and_wide_letters_count_twice() {
        let text = "  Interrupts nginx on web-server for a moment. Nothing to undo.";
        assert_eq!(folded(text, 40), "  Interrupts nginx on web-server for a\n  moment. Nothing to undo.\n");
        assert_eq!(folded("日本 日本 日本", 9), "日本 日本\n日本\n");
    }
}
