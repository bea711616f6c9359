//! From text to expression: a hand-written descent, because it is small and its errors have to point at the byte.

use super::{Expression, Item, Key, Pattern, Selection, Selector, SelectorError, error};

/// The longest text that is read at all, in bytes.
const LONGEST: usize = 4096;
/// How deep parentheses and `not` may nest.
const DEEPEST: usize = 64;

const FORMS: &str = "write key=value, joined by and, or, not ( ); or targets such as ct/118,blog,201; or all";

/// An expression, a list or `all`.
pub(super) fn selection(text: &str) -> Result<Selection, SelectorError> {
    let trimmed = text.trim();
    let is_expression = trimmed.contains(['=', '(', ')', '"', '\'']) || trimmed.split_whitespace().nth(1).is_some();
    if trimmed.eq_ignore_ascii_case("all") {
        Ok(Selection::All)
    } else if is_expression && !is_list(trimmed) {
        Ok(Selection::Matching(Selector { expression: expression(text)? }))
    } else {
        list(text)
    }
}

/// `a, b`: spaces only around commas.
fn is_list(text: &str) -> bool {
    text.split(',').all(|item| {
        let item = item.trim();
        !item.is_empty() && item.chars().all(is_bare_char) && !item.contains('=')
    })
}

fn list(text: &str) -> Result<Selection, SelectorError> {
    if text.len() > LONGEST {
        return Err(error(text, LONGEST, format!("longer than {LONGEST} bytes"), FORMS));
    }
    let mut items = Vec::new();
    let mut start = 0;
    for piece in text.split(',') {
        let column = start + (piece.len() - piece.trim_start().len());
        let item = piece.trim();
        if item.is_empty() {
            let message = if text.trim().is_empty() { "the selector is empty" } else { "a name is missing here" };
            return Err(error(text, column.min(text.len()), message, FORMS));
        }
        if let Some((at, bad)) = item.char_indices().find(|(_, c)| !is_bare_char(*c)) {
            return Err(error(text, column + at, format!("`{}` can't be part of a name", bad.escape_debug()), FORMS));
        }
        items.push(Item { text: item.to_owned(), column });
        start += piece.len() + 1;
    }
    Ok(Selection::Named(items))
}

/// A whole expression.
pub(super) fn expression(text: &str) -> Result<Expression, SelectorError> {
    if text.len() > LONGEST {
        return Err(error(text, LONGEST, format!("longer than {LONGEST} bytes"), FORMS));
    }
    let mut reader = Reader { text, at: 0, depth: 0 };
    let expression = reader.or()?;
    reader.blank();
    if reader.at < text.len() {
        let message = format!("`and` or `or` is missing before `{}`", reader.peek_word());
        return Err(reader.wrong(message, FORMS));
    }
    Ok(expression)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn or(&mut self) -> Result<Expression, SelectorError> {
        let mut left = self.and()?;
        while self.keyword("or") {
            left = Expression::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expression, SelectorError> {
        let mut left = self.unary()?;
        while self.keyword("and") {
            left = Expression::And(Box::new(left), Box::new(self.unary()?));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expression, SelectorError> {
        self.blank();
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.wrong(format!("nested deeper than {DEEPEST}"), "use fewer parentheses"));
        }
        let expression = if self.keyword("not") {
            Expression::Not(Box::new(self.unary()?))
        } else if self.rest().starts_with('(') {
            let open = self.at;
            self.at += 1;
            let inner = self.or()?;
            self.blank();
            if !self.rest().starts_with(')') {
                return Err(error(self.text, open, "this parenthesis is never closed", "write `)` after its end"));
            }
            self.at += 1;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn comparison(&mut self) -> Result<Expression, SelectorError> {
        let start = self.at;
        let word: String = self.rest().chars().take_while(char::is_ascii_alphanumeric).collect();
        if word.is_empty() {
            let message =
                if self.rest().is_empty() { "a comparison is missing here" } else { "a key has to stand here" };
            return Err(self.wrong(message, keys()));
        }
        let Some((_, key)) = Key::ALL.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word)) else {
            return Err(self.wrong(format!("there is no key `{word}`"), closest_key(&word)));
        };
        self.at = start + word.len();
        self.blank();
        let equal = if self.rest().starts_with("!=") {
            self.at += 2;
            false
        } else if self.rest().starts_with('=') {
            self.at += 1;
            true
        } else {
            return Err(self.wrong(format!("`=` or `!=` has to follow `{word}`"), format!("write {word}=value")));
        };
        self.blank();
        let value_at = self.at;
        let pattern = self.value(&word)?;
        check(*key, &pattern).map_err(|help| {
            error(self.text, value_at, format!("`{}` is nothing that `{word}` can be", pattern.text), help)
        })?;
        Ok(Expression::Compare { key: *key, equal, pattern })
    }

    fn value(&mut self, key: &str) -> Result<Pattern, SelectorError> {
        let Some(quote) = self.rest().chars().next().filter(|c| matches!(c, '"' | '\'')) else {
            let bare: String = self.rest().chars().take_while(|c| is_bare_char(*c)).collect();
            if bare.is_empty() {
                return Err(self.wrong(format!("a value has to follow `{key}=`"), "quote it if it has spaces"));
            }
            self.at += bare.len();
            return Ok(Pattern { text: bare, literal: false });
        };
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => text.extend(letters.next().map(|(_, escaped)| escaped)),
                _ if letter == quote => {
                    self.at += at + 1;
                    return Ok(Pattern { text, literal: true });
                }
                _ => text.push(letter),
            }
        }
        Err(self.wrong("this quote is never closed", format!("write {quote} after the value")))
    }

    /// Steps over a keyword that stands alone.
    fn keyword(&mut self, word: &str) -> bool {
        self.blank();
        let rest = self.rest();
        let there = rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && rest[word.len()..].chars().next().is_none_or(|next| next.is_whitespace() || next == '(');
        if there {
            self.at += word.len();
        }
        there
    }

    fn blank(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn peek_word(&self) -> String {
        self.rest().chars().take_while(|c| !c.is_whitespace()).take(40).flat_map(char::escape_debug).collect()
    }

    fn wrong(&self, message: impl Into<String>, help: impl Into<String>) -> SelectorError {
        error(self.text, self.at, message, help)
    }
}

/// Whether a value needs no quotes.
pub(super) fn is_bare(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_bare_char)
}

fn is_bare_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '?' | '@' | '/' | ':' | '+' | '#')
}

fn check(key: Key, pattern: &Pattern) -> Result<(), &'static str> {
    let word = pattern.text.to_ascii_lowercase();
    let globs = !pattern.literal && word.contains(['*', '?']);
    match key {
        Key::Type if !globs && !["ct", "vm", "node"].contains(&word.as_str()) => Err("write ct, vm or node"),
        Key::Template if !globs && !["true", "false"].contains(&word.as_str()) => Err("write true or false"),
        Key::Vmid if !globs && !word.bytes().all(|byte| byte.is_ascii_digit()) => Err("write a number such as 118"),
        _ => Ok(()),
    }
}

fn keys() -> String {
    let names: Vec<&str> = Key::ALL.iter().map(|(name, _)| *name).collect();
    format!("the keys are {}", names.join(", "))
}

fn closest_key(word: &str) -> String {
    let likeness = |name: &str| strsim::jaro_winkler(name, &word.to_ascii_lowercase());
    let best = Key::ALL.iter().map(|(name, _)| *name).max_by(|left, right| likeness(left).total_cmp(&likeness(right)));
    match best.filter(|name| likeness(name) > 0.75) {
        Some(name) => format!("did you mean `{name}`? {}", keys()),
        None => keys(),
    }
}
