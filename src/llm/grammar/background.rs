//! What is said around a request and only says why: `the dashboards won't load again, could you …`, `… because it
//! hangs`. It may not hold a condition or an exception, and the guests that it names are remembered: where the request
//! takes one of them by a class, somebody has to ask.

use super::{
    clause::part,
    intent::Matcher,
    noun::Noun,
    sentence::Sentence,
    token::{Kind, Token},
};
use crate::model::{Target, inventory::Guest};
use std::ops::Range;

/// The tokens of the request itself, and the guests that were spoken of around it.
pub fn request(sentence: &Sentence<'_>) -> (Vec<Token>, Vec<Target>) {
    let tokens = &sentence.tokens;
    let background = &sentence.lexicon.background;
    let one_of = |token: &Token, words: &[String]| words.iter().any(|word| token.is(word));
    let because = tokens.iter().position(|token| token.is("because")).filter(|at| *at > 0);
    let stop = because
        .filter(|at| !tokens[*at..].iter().any(|token| one_of(token, &background.conditions)))
        .unwrap_or(tokens.len());
    let begins = |at: &usize| {
        let separated = matches!(tokens[*at].kind, Kind::Comma | Kind::Stop) && tokens[*at].text != ":";
        separated && one_of(&tokens[at + 1], &background.requests)
    };
    let only_says_why = |end: &usize| {
        let words = &tokens[..*end];
        let conditional = words.iter().any(|token| one_of(token, &background.conditions));
        let verb = words.iter().skip(1).any(|token| one_of(token, &background.verbs));
        let command = words.first().is_some_and(|token| token.is("do") || token.is("not"));
        verb && !conditional && !command && Matcher::new(&part(sentence, words)).readings().is_empty()
    };
    let start = (1..stop.saturating_sub(1)).rev().filter(begins).find(only_says_why).map_or(0, |end| end + 1);
    let mut spoken = spoken_of(sentence, 0..start);
    spoken.extend(spoken_of(sentence, stop..tokens.len()));
    (tokens[start..stop].to_vec(), spoken)
}

/// The guests that some of the words name.
fn spoken_of(sentence: &Sentence<'_>, words: Range<usize>) -> Vec<Target> {
    let end = words.end;
    let hits = words.flat_map(|at| sentence.targets(at)).filter(|hit| hit.end <= end);
    let targets = hits.flat_map(|hit| hit.value.include).flat_map(|noun| named(sentence, &noun));
    targets.filter(|target| target.vmid().is_some()).collect()
}

fn named(sentence: &Sentence<'_>, noun: &Noun) -> Vec<Target> {
    let vocabulary = sentence.vocabulary;
    match noun {
        Noun::Named { named, .. } => named.iter().map(|named| vocabulary.target(*named)).collect(),
        Noun::Vmid { vmid, .. } => vocabulary.inventory.guest(*vmid).map(Guest::target).into_iter().collect(),
        Noun::Partial { words, .. } => {
            vocabulary.with_parts(words).into_iter().map(|index| vocabulary.guest(index).target()).collect()
        }
        Noun::Class { .. } | Noun::Pronoun | Noun::Unknown { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::grammar::testing::read;

    fn rest(text: &str) -> (String, usize) {
        read(text, |sentence| {
            let (tokens, spoken) = request(sentence);
            (tokens.iter().map(|token| token.text.as_str()).collect::<Vec<_>>().join(" "), spoken.len())
        })
    }

    #[test]
    fn reasons_are_set_apart_and_conditions_are_not() {
        assert_eq!(rest("the site is slow, please reboot blog"), ("please reboot blog".to_owned(), 0));
        assert_eq!(rest("reboot blog because it hangs"), ("reboot blog".to_owned(), 0));
        assert!(rest("blog is off limits, so reboot all web containers").1 > 0);
        for text in
            ["if it is slow, please reboot blog", "reboot wiki, so reboot blog", "reboot blog because only wiki is up"]
        {
            let (left, _) = rest(text);
            assert_eq!(left.split(' ').count(), text.replace(',', " ,").split(' ').count(), "{text}");
        }
    }
}
