//! Text from elsewhere (guests, task logs, programs), made fit to stand in a line of ours: it is data, never layout.

/// One line of printable characters, at most so many: control characters, line breaks and the marks that reorder or hide
/// text become blanks, runs of blanks become one.
pub fn one_line(text: &str, most: usize) -> String {
    let mut line = String::new();
    let mut blank = true;
    for (count, character) in text.trim().chars().map(printable).enumerate() {
        if count >= most.saturating_mul(4) || line.chars().count() >= most {
            line.push('…');
            break;
        }
        if character != ' ' || !blank {
            line.push(character);
        }
        blank = character == ' ';
    }
    line.trim_end().to_owned()
}

fn printable(character: char) -> char {
    let hidden =
        matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if character.is_control() || character.is_whitespace() || hidden { ' ' } else { character }
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn escapes_and_line_breaks_lose_their_power() {
        assert_eq!(one_line("a\u{1b}[2J\r\nb\t\tc\u{202e}d\n", 80), "a [2J b c d");
        assert_eq!(one_line("ab cdef", 4), "ab c…");
        assert_eq!(one_line(&" \n".repeat(10_000), 10), "");
    }
}
