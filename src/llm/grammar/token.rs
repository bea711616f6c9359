//! The first stage: from text to tokens. Quoted text, paths and patches stay whole and are data from here on;
//! contractions are spelled out (`isn't` → `is not`), so that a negation is a word of its own.

use super::lexicon::Lexicon;
use std::ops::Range;

/// What a token is by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A word.
    Word,
    /// Decimal digits.
    Number,
    /// What stood between quotes or backticks, without them.
    Quoted,
    /// A file's path.
    Path,
    /// A unified diff, to the end of the text.
    Patch,
    /// A comma, colon or dash.
    Comma,
    /// A full stop, semicolon or exclamation mark.
    Stop,
    /// A question mark.
    Question,
    /// `'s`.
    Possessive,
}

/// The text of a token that is an arrow; its word is `to`.
pub const ARROW: &str = "->";

/// One token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// As it was written, quotes stripped.
    pub text: String,
    /// In lower case.
    pub lower: String,
    /// What it is a misspelling of, best first; empty where the word is known or nothing is near.
    pub meant: Vec<String>,
    /// Where it stands in the text, in bytes.
    pub span: Range<usize>,
}

impl Token {
    /// Whether it can be read as this lower-case word, and whether that takes a correction.
    pub fn reads(&self, word: &str) -> Option<bool> {
        if self.lower == word && matches!(self.kind, Kind::Word | Kind::Number) {
            return Some(false);
        }
        self.meant.iter().any(|meant| meant == word).then_some(true)
    }

    /// Whether it is exactly that word.
    pub fn is(&self, word: &str) -> bool {
        self.lower == word && self.kind == Kind::Word
    }

    /// Whether it can be a name or another free word.
    pub fn is_wordlike(&self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Number | Kind::Quoted)
    }
}

/// All tokens of a text.
pub fn tokens(text: &str, lexicon: &Lexicon) -> Vec<Token> {
    let patch = patch_start(text);
    let mut out = Vec::new();
    let prose = &text[..patch.unwrap_or(text.len())];
    let mut at = 0;
    while let Some(offset) = prose[at..].find(|c: char| !c.is_whitespace()) {
        at += offset;
        at = match quoted(prose, at) {
            Some((inner, end)) => {
                push(&mut out, Kind::Quoted, &prose[inner], at..end);
                end
            }
            None => chunk(prose, at, lexicon, &mut out),
        };
    }
    if let Some(start) = patch {
        push(&mut out, Kind::Patch, &text[start..], start..text.len());
    }
    out
}

/// Where a unified diff begins: at a line `--- …` that a hunk follows, or at the hunk itself.
fn patch_start(text: &str) -> Option<usize> {
    let hunk = line_starting(text, "@@ ")?;
    Some(line_starting(&text[..hunk], "--- ").unwrap_or(hunk))
}

fn line_starting(text: &str, start: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.starts_with(start) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// A quoted text that begins here: what is inside, and where it ends.
fn quoted(text: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let open = text[at..].chars().next()?;
    let close = match open {
        '`' | '"' | '\'' => open,
        '“' | '„' => '”',
        '‘' => '’',
        '«' => '»',
        _ => return None,
    };
    let start = at + open.len_utf8();
    let mut from = start;
    loop {
        let end = from + text[from..].find(close)?;
        let after = end + close.len_utf8();
        // An apostrophe inside a word does not close.
        let closes = close != '\'' || !text[after..].starts_with(char::is_alphanumeric);
        if closes {
            return (end > start).then_some((start..end, after));
        }
        from = after;
    }
}

/// One run without spaces: a word or path with the punctuation around it. Gives where it ends.
fn chunk(text: &str, at: usize, lexicon: &Lexicon, out: &mut Vec<Token>) -> usize {
    let rest = &text[at..];
    let first = rest.chars().next().unwrap_or(' ');
    if let Some(kind) = punctuation(first) {
        push(out, kind, &rest[..first.len_utf8()], at..at + first.len_utf8());
        return at + first.len_utf8();
    }
    if matches!(first, '(' | ')') {
        push(out, Kind::Comma, &rest[..1], at..at + 1);
        return at + 1;
    }
    if matches!(first, '[' | ']' | '=') {
        push(out, Kind::Word, &rest[..1], at..at + 1);
        return at + 1;
    }
    let is_path = first == '/' || rest.starts_with("~/");
    let ends = |c: char| {
        c.is_whitespace() || matches!(c, ',' | '`' | '"' | ';' | '(' | ')' | '“' | '”') || (!is_path && c == '=')
    };
    let run = &rest[..rest.find(ends).unwrap_or(rest.len())];
    let word = run.trim_end_matches(['.', '!', '?', ':', '…']);
    let word = if word.is_empty() { run } else { word };
    // `web-1:/etc/hosts` is a file on a machine, as scp writes it.
    let host = word.split_once(":/").filter(|(host, path)| !host.is_empty() && !path.starts_with('/'));
    if let Some((host, _)) = host.filter(|_| !is_path) {
        push_word(host, at, lexicon, out);
        let start = at + host.len() + 1;
        push(out, Kind::Path, &word[host.len() + 1..], start..at + word.len());
    } else if is_path && word.len() > 1 {
        push(out, Kind::Path, word, at..at + word.len());
    } else {
        push_word(word, at, lexicon, out);
    }
    at + word.len().max(first.len_utf8())
}

fn punctuation(c: char) -> Option<Kind> {
    match c {
        ',' | ':' | '–' | '—' => Some(Kind::Comma),
        '.' | ';' | '!' | '…' => Some(Kind::Stop),
        '?' => Some(Kind::Question),
        _ => None,
    }
}

fn push_word(word: &str, at: usize, lexicon: &Lexicon, out: &mut Vec<Token>) {
    let span = at..at + word.len();
    let plain = word.replace('’', "'");
    if let Some(spelled) = lexicon.contraction(&plain.to_lowercase()) {
        for part in spelled {
            push(out, Kind::Word, part, span.clone());
        }
    } else if let Some(owner) = plain.strip_suffix("'s").filter(|owner| !owner.is_empty()) {
        push(out, number_or_word(owner), owner, span.clone());
        push(out, Kind::Possessive, "'s", span);
    } else if let Some(owners) = plain.strip_suffix('\'').filter(|owners| owners.len() > 2 && owners.ends_with('s')) {
        push(out, Kind::Word, owners, span.clone());
        push(out, Kind::Possessive, "'s", span);
    } else if plain == "&" || plain == "+" {
        push(out, Kind::Word, "and", span);
    } else if matches!(plain.as_str(), "->" | "=>" | "→" | "-->") {
        // It says so in its text, since before a verb it is none: `nginx hangs -> restart it`.
        out.push(Token { kind: Kind::Word, text: ARROW.to_owned(), lower: "to".to_owned(), meant: Vec::new(), span });
    } else if matches!(plain.as_str(), "-" | "--") {
        push(out, Kind::Comma, "-", span);
    } else if let Some((one, other)) = plain.split_once('/').filter(|pair| both_known(*pair, lexicon)) {
        push(out, Kind::Word, one, span.clone());
        push(out, Kind::Word, "and", span.clone());
        push(out, Kind::Word, other, span);
    } else {
        push(out, number_or_word(&plain), &plain, span);
    }
}

/// `cpu/ram`: two words of the language, neither of which asks for something to be done.
fn both_known((one, other): (&str, &str), lexicon: &Lexicon) -> bool {
    let known = |word: &str| {
        let word = word.to_lowercase();
        let mut meanings = lexicon.beginning(&word).iter();
        lexicon.knows(&word) && !meanings.any(|(concept, _)| lexicon.actions.contains(concept))
    };
    known(one) && known(other)
}

fn number_or_word(word: &str) -> Kind {
    if word.bytes().all(|byte| byte.is_ascii_digit()) { Kind::Number } else { Kind::Word }
}

fn push(out: &mut Vec<Token>, kind: Kind, text: &str, span: Range<usize>) {
    out.push(Token { kind, text: text.to_owned(), lower: text.to_lowercase(), meant: Vec::new(), span });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forms(text: &str) -> Vec<(Kind, String)> {
        tokens(text, Lexicon::get()).into_iter().map(|token| (token.kind, token.text)).collect()
    }

    fn words(text: &str) -> String {
        forms(text).into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn quotes_paths_and_names_stay_whole() {
        assert_eq!(words("run `df -h > x` on web-1, now"), "run|df -h > x|on|web-1|,|now");
        assert_eq!(words("show /etc/ssh/sshd_config."), "show|/etc/ssh/sshd_config|.");
        assert_eq!(words("118,119"), "118|,|119");
        assert_eq!(words("containers tagged 'production'"), "containers|tagged|production");
        assert_eq!(forms("`a b`")[0], (Kind::Quoted, "a b".into()));
    }

    #[test]
    fn contractions_and_possessives_come_apart() {
        assert_eq!(words("what's up? it isn't web-1's turn"), "what|is|up|?|it|is|not|web-1|'s|turn");
        assert_eq!(words("don’t"), "do|not");
    }

    #[test]
    fn arrows_and_slashes_are_read_as_what_they_stand_for() {
        assert_eq!(words("blog -> pve2"), "blog|->|pve2");
        assert_eq!(words("cpu/ram of ct/118"), "cpu|and|ram|of|ct/118");
    }

    #[test]
    fn a_patch_reaches_to_the_end() {
        let found = forms("apply to /etc/x:\n--- a/etc/x\n+++ b/etc/x\n@@ -1 +1 @@\n-a, b\n+c");
        assert_eq!(found.last().unwrap().0, Kind::Patch);
        assert!(found.last().unwrap().1.starts_with("--- a/etc/x\n+++"));
    }
}
