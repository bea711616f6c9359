//! Phrasings as data: the small language in which the lexicon writes what people say, compiled once.

use std::collections::HashMap;

/// One piece of a phrasing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// `'s`.
    Possessive,
    /// Any phrase of a concept, by the concept's number; literal words are concepts too.
    Concept(usize),
    /// An argument.
    Slot(Slot),
    /// One after the other.
    Seq(Vec<Node>),
    /// One of them.
    Alt(Vec<Node>),
    /// May be left out.
    Opt(Box<Node>),
}

/// An argument in a phrasing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The argument that it fills; `targets` for what to act on.
    pub name: String,
    /// How its words are read.
    pub kind: String,
}

/// A phrasing that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("phrasing `{phrasing}`: {why}")]
pub struct PatternError {
    phrasing: String,
    why: String,
}

/// Compiles one phrasing. `concepts` are the lexicon's lines of words by name.
pub fn compile(phrasing: &str, concepts: &HashMap<String, usize>) -> Result<Node, PatternError> {
    let pieces = pieces(phrasing);
    let mut reader = Reader { pieces: &pieces, at: 0, concepts };
    let node = reader.sequence(None).map_err(|why| PatternError { phrasing: phrasing.to_owned(), why })?;
    Ok(node)
}

impl Node {
    /// Which concepts it can't do without: one of each group has to occur.
    pub fn needs(&self, groups: &mut Vec<Vec<usize>>) {
        match self {
            Self::Seq(parts) => parts.iter().for_each(|part| part.needs(groups)),
            _ => groups.extend(self.one_of()),
        }
    }

    /// Whether it may match at a place where `begins` tells which of the concepts begin; a quick look before a thorough one.
    pub fn may_begin(&self, begins: &impl Fn(usize) -> bool) -> bool {
        match self {
            Self::Concept(concept) => begins(*concept),
            Self::Alt(ways) => ways.iter().any(|way| way.may_begin(begins)),
            Self::Seq(parts) => parts.first().is_none_or(|first| first.may_begin(begins)),
            Self::Possessive | Self::Slot(_) | Self::Opt(_) => true,
        }
    }

    /// The concepts of which one has to occur; `None` where it can match without any.
    fn one_of(&self) -> Option<Vec<usize>> {
        match self {
            Self::Concept(concept) => Some(vec![*concept]),
            Self::Alt(ways) => ways.iter().map(Self::one_of).collect::<Option<Vec<_>>>().map(|ways| ways.concat()),
            Self::Seq(parts) => parts.iter().filter_map(Self::one_of).min_by_key(Vec::len),
            Self::Possessive | Self::Slot(_) | Self::Opt(_) => None,
        }
    }
}

/// The literal words of a phrasing, which the lexicon takes in as concepts of their own.
pub fn literals(phrasing: &str) -> impl Iterator<Item = &str> {
    let word = |piece: &&str| !piece.starts_with(['<', '{', '[', ']', '(', ')', '|', '&']) && *piece != "'s";
    pieces(phrasing).into_iter().filter(word)
}

/// What a literal word's concept is called.
pub fn literal(word: &str) -> String {
    format!("word:{word}")
}

/// Splits at spaces and around the brackets.
fn pieces(phrasing: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut start = 0;
    let mut inside = false;
    for (at, c) in phrasing.char_indices() {
        match c {
            '{' | '<' => inside = true,
            '}' | '>' => inside = false,
            _ => {}
        }
        if !inside && (c.is_whitespace() || "[]()|".contains(c)) {
            let end = at + c.len_utf8();
            out.push(&phrasing[start..at]);
            if !c.is_whitespace() {
                out.push(&phrasing[at..end]);
            }
            start = end;
        }
    }
    out.push(&phrasing[start..]);
    out.retain(|piece| !piece.is_empty());
    out
}

struct Reader<'a> {
    pieces: &'a [&'a str],
    at: usize,
    concepts: &'a HashMap<String, usize>,
}

impl Reader<'_> {
    /// Reads to the closing bracket, or to the end where there is none to come.
    fn sequence(&mut self, close: Option<&str>) -> Result<Node, String> {
        let mut ways = Vec::new();
        let mut parts = Vec::new();
        loop {
            let Some(piece) = self.pieces.get(self.at) else {
                if let Some(close) = close {
                    return Err(format!("`{close}` is missing"));
                }
                break;
            };
            self.at += 1;
            match *piece {
                piece if Some(piece) == close => break,
                "[" => parts.push(Node::Opt(Box::new(self.sequence(Some("]"))?))),
                "(" => parts.push(self.sequence(Some(")"))?),
                "|" if close.is_some() => ways.push(one(std::mem::take(&mut parts))),
                "]" | ")" | "|" => return Err(format!("`{piece}` stands alone")),
                piece => parts.push(self.leaf(piece)?),
            }
        }
        if ways.is_empty() {
            return Ok(one(parts));
        }
        ways.push(one(parts));
        Ok(Node::Alt(ways))
    }

    fn leaf(&self, piece: &str) -> Result<Node, String> {
        if let Some(name) = piece.strip_prefix('<').and_then(|piece| piece.strip_suffix('>')) {
            return self
                .concepts
                .get(name)
                .map(|id| Node::Concept(*id))
                .ok_or_else(|| format!("there are no words <{name}>"));
        }
        let Some(slot) = piece.strip_prefix('{').and_then(|piece| piece.strip_suffix('}')) else {
            if piece == "'s" {
                return Ok(Node::Possessive);
            }
            let known = self.concepts.get(&literal(piece));
            return known.map(|id| Node::Concept(*id)).ok_or_else(|| format!("`{piece}` is no word that was taken in"));
        };
        let (name, kind) = slot.split_once(':').unwrap_or((slot, slot));
        Ok(Node::Slot(Slot { name: name.to_owned(), kind: kind.to_owned() }))
    }
}

fn one(mut parts: Vec<Node>) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { Node::Seq(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concepts() -> HashMap<String, usize> {
        let words = ["the", "a", "b", "c", "x"].iter().enumerate().map(|(id, word)| (literal(word), id + 1));
        words.chain([("restart".to_owned(), 0)]).collect()
    }

    #[test]
    fn phrasings_become_trees() {
        let word = |word: &str| Node::Concept(concepts()[&literal(word)]);
        assert_eq!(
            compile("<restart> [the] (a|b c) {x:number}", &concepts()).unwrap(),
            Node::Seq(vec![
                Node::Concept(0),
                Node::Opt(Box::new(word("the"))),
                Node::Alt(vec![word("a"), Node::Seq(vec![word("b"), word("c")])]),
                Node::Slot(Slot { name: "x".into(), kind: "number".into() }),
            ])
        );
    }

    #[test]
    fn broken_phrasings_are_errors() {
        for (phrasing, why) in
            [("<frob> x", "no words <frob>"), ("[a", "`]` is missing"), ("a ) b", "`)` stands alone")]
        {
            assert!(compile(phrasing, &concepts()).unwrap_err().to_string().contains(why), "{phrasing}");
        }
    }
}
