//! `sh -c` of a simulated guest: words, quotes, `;`, `&&`, `||` and pipes between programs that are there. Everything else of
//! a shell is refused in a line that says so, and nothing of the real machine is ever started.

use super::{Output, Programs, missing};
use crate::host::commands::CommandError;

/// A piece of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    /// `;`, `&&`, `||`, `|`.
    Mark(&'static str),
}

pub(super) fn run(programs: &Programs, text: &str) -> Result<Output, CommandError> {
    let tokens = match tokens(text) {
        Ok(tokens) => tokens,
        Err(what) => return Ok(missing(&format!("`{what}` of a shell"))),
    };
    let mut whole = Output::default();
    let mut words: Vec<String> = Vec::new();
    // What the last mark asks of the program behind it.
    let (mut before, mut piped): (&str, Option<String>) = (";", None);
    for token in tokens.into_iter().chain([Token::Mark(";")]) {
        let mark = match token {
            Token::Word(word) => {
                words.push(word);
                continue;
            }
            Token::Mark(mark) => mark,
        };
        let wanted = match before {
            "&&" => whole.code == 0,
            "||" => whole.code != 0,
            _ => true,
        };
        let argv: Vec<&str> = words.iter().map(String::as_str).collect();
        if wanted && !argv.is_empty() {
            let output = programs.call(&argv, piped.take().as_deref().unwrap_or_default())?;
            (whole.code, whole.err) = (output.code, whole.err + &output.err);
            if mark == "|" { piped = Some(output.out) } else { whole.out += &output.out }
        }
        words.clear();
        before = mark;
    }
    Ok(whole)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let (mut word, mut quote): (Option<String>, Option<char>) = (None, None);
    let mut chars = text.trim().chars().peekable();
    while let Some(char) = chars.next() {
        match (char, quote) {
            (char, Some(open)) if char == open => quote = None,
            ('$' | '`', Some('"')) | ('$' | '`' | '>' | '<' | '(' | ')' | '*' | '?' | '{' | '}' | '#' | '~', None) => {
                return Err(char.to_string());
            }
            ('\\', Some('"') | None) => word.get_or_insert_default().extend(chars.next()),
            ('\'' | '"', None) => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (' ' | '\t', None) => tokens.extend(word.take().map(Token::Word)),
            ('2', None) if word.is_none() && chars.peek() == Some(&'>') => {
                // Errors come with the rest anyway.
                chars.next();
                let rest: String = chars.by_ref().take_while(|char| !char.is_whitespace()).collect();
                if !matches!(rest.as_str(), "&1" | "/dev/null") {
                    return Err(">".to_owned());
                }
            }
            (';' | '\n', None) => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(Token::Mark(";"));
            }
            ('&' | '|', None) => {
                tokens.extend(word.take().map(Token::Word));
                let twice = chars.next_if_eq(&char).is_some();
                tokens.push(Token::Mark(match (char, twice) {
                    ('&', true) => "&&",
                    ('|', true) => "||",
                    ('|', false) => "|",
                    _ => return Err("&".to_owned()),
                }));
            }
            (char, _) => word.get_or_insert_default().push(char),
        }
    }
    if quote.is_some() {
        return Err("an open quote".to_owned());
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let shown = |token: Token| match token {
            Token::Word(word) => word,
            Token::Mark(mark) => format!("<{mark}>"),
        };
        tokens(text).unwrap().into_iter().map(shown).collect()
    }

    #[test]
    fn words_quotes_and_marks_are_told_apart() {
        assert_eq!(words("df -h / 2>&1 | tail -n 1"), ["df", "-h", "/", "<|>", "tail", "-n", "1"]);
        assert_eq!(
            words("echo 'a b' \"c;d\" e\\ f&&true||false; uptime"),
            ["echo", "a b", "c;d", "e f", "<&&>", "true", "<||>", "false", "<;>", "uptime"]
        );
        assert_eq!(words("cat /etc/hosts 2>/dev/null"), ["cat", "/etc/hosts"]);
    }

    #[test]
    fn what_is_not_simulated_is_named() {
        for (text, what) in [
            ("echo $HOME", "$"),
            ("ls *", "*"),
            ("echo x > /etc/motd", ">"),
            ("sleep 9 &", "&"),
            ("echo 'x", "an open quote"),
            ("x 2>y", ">"),
        ] {
            assert_eq!(tokens(text), Err(what.to_owned()), "{text}");
        }
    }
}
