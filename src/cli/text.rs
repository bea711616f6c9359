//! Text that others wrote (names, logs, output, what a model says) made safe for a terminal: it may say anything, but it
//! moves no cursor, sets no title, hides and reorders nothing. Every printer goes through here.

use std::borrow::Cow;
use unicode_width::UnicodeWidthStr as _;

/// One line: control characters and bidi overrides taken out, ends of lines and tabs turned into spaces.
pub fn safe(text: &str) -> Cow<'_, str> {
    if text.chars().any(|letter| dangerous(letter) || matches!(letter, '\n' | '\t' | '\r')) {
        let one_line = block(text).trim_end_matches('\n').replace(['\n', '\t'], " ");
        Cow::Owned(one_line)
    } else {
        Cow::Borrowed(text)
    }
}

/// Several lines: as `safe`, but ends of lines and tabs stay, and colour sequences go as a whole.
pub fn block(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '\u{1b}' if letters.peek() == Some(&'[') => skip_sequence(&mut letters),
            '\u{9b}' => skip_parameters(&mut letters),
            '\r' if letters.peek() != Some(&'\n') => clean.push('\n'),
            '\n' | '\t' => clean.push(letter),
            _ if dangerous(letter) => {}
            _ => clean.push(letter),
        }
    }
    clean
}

/// Serialised JSON whose strings keep every character, the dangerous ones as `\uXXXX`.
pub fn json(serialised: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    if !serialised.chars().any(|letter| dangerous(letter) && letter != '\n') {
        return Cow::Borrowed(serialised);
    }
    let mut clean = String::with_capacity(serialised.len() + 16);
    for letter in serialised.chars() {
        if dangerous(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(clean, "\\u{unit:04x}");
            }
        } else {
            clean.push(letter);
        }
    }
    Cow::Owned(clean)
}

/// The text in lines of at most so many columns, broken at spaces; a word that is longer has a line of its own. At least
/// one line.
pub fn wrapped(text: &str, wide: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one from the beginning");
        if line.is_empty() {
            line.push_str(word);
        } else if line.width() + 1 + word.width() <= wide {
            line.extend([" ", word]);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

type Letters<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// `ESC [`, parameters, one final letter.
fn skip_sequence(letters: &mut Letters) {
    letters.next();
    skip_parameters(letters);
}

fn skip_parameters(letters: &mut Letters) {
    // A sequence that never ends must not swallow the text behind it: real ones are short.
    for _ in 0..32 {
        match letters.next_if(|letter| matches!(letter, '\u{20}'..='\u{3f}')) {
            Some(_) => {}
            None => break,
        }
    }
    letters.next_if(|letter| matches!(letter, '\u{40}'..='\u{7e}'));
}

/// Controls, what reorders or hides text, and what a terminal may take for an end of line.
fn dangerous(letter: char) -> bool {
    (letter.is_control() && !matches!(letter, '\n' | '\t'))
        || matches!(letter,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_text_is_left_alone() {
        for text in ["web-server", "Größe 4 GiB – 日本語 🙂", ""] {
            assert!(matches!(safe(text), Cow::Borrowed(same) if same == text));
        }
    }

    #[test]
    fn escapes_overrides_and_line_ends_do_not_get_through() {
        assert_eq!(safe("a\u{1b}[2Jb\u{1b}]0;title\u{7}c"), "ab]0;titlec");
        assert_eq!(safe("exe\u{202e}txt.sh\u{2066}"), "exetxt.sh");
        assert_eq!(safe("one\r\ntwo\tthree\n"), "one two three");
        assert_eq!(safe("\u{9b}31mred\u{85}"), "red");
        assert_eq!(block("\u{1b}[1;31mred\u{1b}[0m\n\tx\ry"), "red\n\tx\ny");
        assert_eq!(safe("\u{1b}[111111111111111111111111111111111111111111visible"), "1111111111visible");
    }

    #[test]
    fn lines_break_at_spaces_alone() {
        assert_eq!(wrapped("one two  three", 7), ["one two", "three"]);
        assert_eq!(wrapped("日本 日本", 8), ["日本", "日本"]);
        assert_eq!(wrapped("a incomprehensible b", 5), ["a", "incomprehensible", "b"]);
        assert_eq!(wrapped("", 5), [""]);
    }

    #[test]
    fn json_keeps_what_it_hides() {
        let value = serde_json::json!({"name": "a\u{202e}b\u{9b}c\u{1b}[2J"});
        let text = value.to_string();
        let clean = json(&text);
        assert!(clean.is_ascii(), "{clean}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&clean).unwrap(), value);
    }

    proptest::proptest! {
        #[test]
        fn nothing_dangerous_survives(text in ".*") {
            proptest::prop_assert!(!safe(&text).chars().any(|letter| letter.is_control() || dangerous(letter)));
            proptest::prop_assert!(!block(&text).chars().any(dangerous));
        }
    }
}
