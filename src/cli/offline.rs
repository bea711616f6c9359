//! `plan --inventory FILE`: what would be done over an inventory from a file, without a hub.

use super::{book::Book, flow, screen::Screen};
use crate::{
    engine::planning::{PlanMeta, make_plan},
    llm::{
        Known, Planner,
        grammar::{self, Grammar},
    },
    model::{Answer, Exit, Failure, Inventory, Policy, answer::PlanView},
    sys::{clock, files, random},
};
use std::{
    io::{self, BufRead, Read as _},
    path::Path,
};

/// The longest line that `--batch` reads: 1 MiB.
const LINE_LIMIT: u64 = 1 << 20;

/// A planner over an inventory.
pub struct Offline {
    known: Known,
    planner: Grammar,
    policy: Policy,
}

impl Offline {
    /// Reads an inventory file.
    pub fn load(path: &Path) -> Result<Self, Failure> {
        let doing = format!("reading the inventory {}", path.display());
        let text = files::read_text(path).map_err(|error| {
            Failure::of("planning without a hub", &error)
                .help("--inventory wants a file of JSON with nodes, storages and guests")
        })?;
        let inventory: Inventory = serde_json::from_str(&text).map_err(|error| {
            Failure::of(&doing, &error).help("an inventory is one JSON object with nodes, storages and guests")
        })?;
        Ok(Self { known: Known::new(inventory), planner: Grammar, policy: Policy::default() })
    }

    /// Plans one sentence.
    pub fn answer(&self, text: &str) -> Answer {
        let meta = PlanMeta {
            id: random::name(4),
            text: text.to_owned(),
            planner: self.planner.name().to_owned(),
            created: clock::unix_seconds(),
        };
        match make_plan(self.planner.plan(text, &self.known), meta, self.known.inventory(), &self.policy) {
            Ok(plan) => Answer::Plan(PlanView::of(&plan)),
            Err(answer) => *answer,
        }
    }

    /// Tells how a sentence is read, apart from the answer.
    pub fn explain(&self, screen: &mut Screen, text: &str) {
        for line in grammar::explain(text, &self.known).to_string().lines() {
            screen.note(line);
        }
    }

    /// Plans one sentence and prints the answer.
    pub fn one(&self, screen: &mut Screen, text: &str, json: bool) -> Exit {
        flow::answer(screen, &self.answer(text), &Book::of_inventory(self.known.inventory()), None, json)
    }

    /// A JSON string a line in, a JSON object a line out, in the same order; a line that is none is refused, and goes on.
    pub fn batch(&self, screen: &mut Screen, mut input: impl BufRead) -> Result<Exit, Failure> {
        let mut number = 0_u64;
        while !screen.closed() {
            number += 1;
            let answer = match next_line(&mut input).map_err(|error| Failure::of("reading standard input", &error))? {
                Input::End => break,
                Input::TooLong => refused(number, "longer than 1 MiB"),
                Input::Line(line) => match serde_json::from_slice::<String>(&line) {
                    Ok(text) => self.answer(&text),
                    Err(error) => refused(number, &format!("not a JSON string ({error})")),
                },
            };
            screen.json(&answer);
            screen.flush();
        }
        Ok(Exit::Done)
    }
}

fn refused(line: u64, why: &str) -> Answer {
    Answer::Refuse { reason: format!("line {line} is {why}") }
}

enum Input {
    Line(Vec<u8>),
    TooLong,
    End,
}

/// The next line; one that is too long is passed over.
fn next_line(input: &mut impl BufRead) -> io::Result<Input> {
    let mut line = Vec::new();
    if input.take(LINE_LIMIT).read_until(b'\n', &mut line)? == 0 {
        return Ok(Input::End);
    }
    let whole = line.last() == Some(&b'\n') || u64::try_from(line.len()).is_ok_and(|length| length < LINE_LIMIT);
    if whole {
        return Ok(Input::Line(line));
    }
    loop {
        line.clear();
        input.take(LINE_LIMIT).read_until(b'\n', &mut line)?;
        if line.last().is_none_or(|last| *last == b'\n') {
            return Ok(Input::TooLong);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::screen::tests::screen;

    fn homelab() -> Offline {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/homelab.json");
        Offline::load(&path).unwrap()
    }

    #[test]
    fn every_line_has_its_answer_whatever_it_is() {
        let (mut screen, out, _) = screen("");
        let mut input = b"\"restart nginx on web-server\"\nnonsense\n\n\"\\ud800\"\n\xff\xfe\n[\"a\"]\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', 3 << 20));
        input.extend(b"\n\"last\"");
        assert_eq!(homelab().batch(&mut screen, &input[..]).unwrap(), Exit::Done);
        let answers: Vec<Answer> = out.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), 8);
        for index in [1, 2, 3, 4, 5, 6] {
            let Answer::Refuse { reason } = &answers[index] else { panic!("{index}: {:?}", answers[index]) };
            assert!(reason.starts_with(&format!("line {} is ", index + 1)), "{reason}");
        }
    }

    #[test]
    fn an_inventory_that_is_none_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.json");
        let failure = Offline::load(&path).err().unwrap();
        assert!(failure.message.ends_with("x.json: No such file or directory (os error 2)"), "{failure}");
        crate::sys::files::write_atomic(&path, b"{\"nodes\": 1}", 0o600).unwrap();
        let failure = Offline::load(&path).err().unwrap();
        assert!(failure.message.contains("line 1 column 11"), "{failure}");
    }
}
