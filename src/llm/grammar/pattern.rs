//! Phrasings as data: the small language in which the lexicon writes what people say, compiled once.

use super::lexicon::Text;

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
    pub name: Text,
    /// How its words are read.
    pub kind: Text,
}

/// A phrasing that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("phrasing `{phrasing}`: {why}")]
pub struct PatternError {
    phrasing: String,
    why: String,
}

/// Where the numbers of words come from.
pub trait Words {
    /// The number of a line of words.
    fn line_of(&self, name: &str) -> Option<usize>;

    /// The number of a literal word, which is taken in where it is new.
    fn literal(&mut self, word: Text) -> usize;
}

/// Compiles one phrasing.
pub fn compile(phrasing: Text, words: &mut impl Words) -> Result<Node, PatternError> {
    let pieces = pieces(phrasing);
    let mut reader = Reader { pieces: &pieces, at: 0, words };
    reader.sequence(None).map_err(|why| PatternError { phrasing: phrasing.to_owned(), why })
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

/// Splits at spaces and around the brackets.
fn pieces(phrasing: Text) -> Vec<Text> {
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

struct Reader<'a, W> {
    pieces: &'a [Text],
    at: usize,
    words: &'a mut W,
}

impl<W: Words> Reader<'_, W> {
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

    fn leaf(&mut self, piece: Text) -> Result<Node, String> {
        let inside = |open: char, close: char| piece.strip_prefix(open).and_then(|piece| piece.strip_suffix(close));
        if let Some(name) = inside('<', '>') {
            let line = self.words.line_of(name).ok_or_else(|| format!("there are no words <{name}>"))?;
            return Ok(Node::Concept(line));
        }
        if let Some(slot) = inside('{', '}') {
            let (name, kind) = slot.split_once(':').unwrap_or((slot, slot));
            return Ok(Node::Slot(Slot { name, kind }));
        }
        Ok(if piece == "'s" { Node::Possessive } else { Node::Concept(self.words.literal(piece)) })
    }
}

fn one(mut parts: Vec<Node>) -> Node {
    if parts.len() == 1 { parts.remove(0) } else { Node::Seq(parts) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words by their place in a list, the line `restart` before them.
    #[derive(Default)]
    struct List(Vec<Text>);

    impl Words for List {
        fn line_of(&self, name: &str) -> Option<usize> {
            (name == "restart").then_some(0)
        }

        fn literal(&mut self, word: Text) -> usize {
            let known = self.0.iter().position(|known| *known == word);
            1 + known.unwrap_or_else(|| {
                self.0.push(word);
                self.0.len() - 1
            })
        }
    }

    #[test]
    fn phrasings_become_trees() {
        assert_eq!(
            compile("<restart> [the] (a|b the) {x:number}", &mut List::default()).unwrap(),
            Node::Seq(vec![
                Node::Concept(0),
                Node::Opt(Box::new(Node::Concept(1))),
                Node::Alt(vec![Node::Concept(2), Node::Seq(vec![Node::Concept(3), Node::Concept(1)])]),
                Node::Slot(Slot { name: "x", kind: "number" }),
            ])
        );
    }

    #[test]
    fn broken_phrasings_are_errors() {
        for (phrasing, why) in
            [("<frob> x", "no words <frob>"), ("[a", "`]` is missing"), ("a ) b", "`)` stands alone")]
        {
            assert!(compile(phrasing, &mut List::default()).unwrap_err().to_string().contains(why), "{phrasing}");
        }
    }
}
