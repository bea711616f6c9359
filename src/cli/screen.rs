//! What the program writes to and asks on. Results go to standard output, all else to standard error; every span of text
//! is made safe here, so that nothing that a guest or a model wrote reaches a terminal raw.

use super::{fold, table::Table, text};
use crate::{model::Failure, sys::env};
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, BufRead, BufReader, IsTerminal as _, Write},
    os::fd::{AsFd as _, BorrowedFd},
};

/// How a span looks; every line reads the same without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// As it is.
    Plain,
    /// It went well: green.
    Good,
    /// It went wrong: red.
    Bad,
    /// Worth a second look: yellow.
    Warn,
    /// Beside the point: dim.
    Dim,
    /// The point: bold.
    Bold,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\u{1b}[32m",
            Self::Bad => "\u{1b}[31m",
            Self::Warn => "\u{1b}[33m",
            Self::Dim => "\u{1b}[2m",
            Self::Bold => "\u{1b}[1m",
        }
    }
}

/// A line made of spans.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    spans: Vec<(Look, String)>,
    folds: bool,
}

impl Line {
    /// An empty line.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a further span.
    #[must_use]
    pub fn and(mut self, look: Look, text: impl Into<String>) -> Self {
        self.spans.push((look, text.into()));
        self
    }

    /// With a further plain span.
    #[must_use]
    pub fn plain(self, text: impl Into<String>) -> Self {
        self.and(Look::Plain, text)
    }

    /// As one that is broken where the terminal is narrower: for what this program says, not for what it passes on.
    #[must_use]
    pub fn folding(self) -> Self {
        Self { folds: true, ..self }
    }

    /// The lines that it takes on a terminal of that width.
    fn folded(&self, width: Option<usize>) -> Vec<Cow<'_, Self>> {
        let Some(width) = width.filter(|_| self.folds) else { return vec![Cow::Borrowed(self)] };
        let letters = |(look, span): &(Look, String)| text::safe(span).chars().map(|letter| (*look, letter)).collect();
        let letters: Vec<fold::Letter> = self.spans.iter().map(letters).collect::<Vec<Vec<_>>>().concat();
        fold::fold(&letters, width).iter().map(|line| Cow::Owned(Self::of(line))).collect()
    }

    fn of(letters: &[fold::Letter]) -> Self {
        let same = letters.chunk_by(|one, next| one.0 == next.0);
        let spans = same.map(|same| (same[0].0, same.iter().map(|letter| letter.1).collect())).collect();
        Self { spans, folds: false }
    }

    /// The line as it is written, safe, without its end.
    pub fn render(&self, colour: bool) -> String {
        let mut line = String::new();
        for (look, span) in &self.spans {
            let span = text::safe(span);
            if colour && *look != Look::Plain && !span.is_empty() {
                line.extend([look.code(), &span, "\u{1b}[0m"]);
            } else {
                line.push_str(&span);
            }
        }
        line.truncate(line.trim_end().len());
        line
    }
}

impl<T: Into<String>> From<T> for Line {
    fn from(text: T) -> Self {
        Self::new().plain(text)
    }
}

#[expect(clippy::struct_excessive_bools, reason = "each tells one thing of a terminal, and all combinations occur")]
/// Standard input, output and error, with what is known of the terminal behind them.
pub struct Screen {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    input: Box<dyn BufRead>,
    /// Whether standard output shows colour.
    pub out_colour: bool,
    /// Whether standard error shows colour.
    pub err_colour: bool,
    /// Whether somebody can be asked: standard input and standard error are terminals.
    pub interactive: bool,
    /// Whether standard error is a terminal, on which progress may move.
    pub live: bool,
    /// The width of the terminal that is standard output; `None` where it is none.
    pub width: Option<usize>,
    /// The width of the terminal that is standard error.
    pub err_width: Option<usize>,
    closed: bool,
}

impl Screen {
    /// The process's own.
    pub fn standard() -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let able = !env::terminal_is_plain();
        let colourful = able && env::text(env::NO_COLOR).is_none();
        // For whoever shows it elsewhere: a recording, a pager.
        let forced = env::text(env::NO_COLOR).is_none() && env::text(env::CLICOLOR_FORCE).is_some_and(|how| how != "0");
        let (out_terminal, err_terminal) = (out.is_terminal(), err.is_terminal());
        let width = |terminal: bool, of: BorrowedFd| {
            let size = terminal.then(|| rustix::termios::tcgetwinsize(of).ok()).flatten();
            size.map(|size| usize::from(size.ws_col)).filter(|width| *width > 0)
        };
        Self {
            out_colour: forced || colourful && out_terminal,
            err_colour: forced || colourful && err_terminal,
            interactive: err_terminal && io::stdin().is_terminal(),
            live: able && err_terminal,
            width: width(out_terminal, out.as_fd()),
            err_width: width(err_terminal, err.as_fd()),
            out: Box::new(io::BufWriter::new(out)),
            err: Box::new(err),
            input: Box::new(BufReader::new(io::stdin())),
            closed: false,
        }
    }

    /// One that writes into the given places, for tests.
    #[cfg(test)]
    pub fn to(out: impl Write + 'static, err: impl Write + 'static, input: impl BufRead + 'static) -> Self {
        Self {
            out: Box::new(out),
            err: Box::new(err),
            input: Box::new(input),
            out_colour: false,
            err_colour: false,
            interactive: false,
            live: false,
            width: None,
            err_width: None,
            closed: false,
        }
    }

    /// How wide a terminal is that somebody reads at, on either output.
    pub fn wide(&self) -> Option<usize> {
        self.width.or(self.err_width)
    }

    /// A line of the result.
    pub fn line(&mut self, line: impl Into<Line>) {
        for line in line.into().folded(self.width) {
            self.write(&line.render(self.out_colour), "\n");
        }
    }

    /// A table of the result, as wide as the terminal.
    pub fn table(&mut self, table: &Table) {
        for (index, line) in table.lines(self.width).into_iter().enumerate() {
            let line = line.render(false);
            let heading = index == 0 && self.out_colour;
            self.line(Line::new().and(if heading { Look::Bold } else { Look::Plain }, line));
        }
    }

    /// A text of several lines that is the result, such as a program's output.
    pub fn block(&mut self, text: &str) {
        let text = text::block(text);
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        self.write(&text, end);
    }

    /// A piece of a program's output, as it comes.
    pub fn piece(&mut self, text: &str) {
        self.write(&text::block(text), "");
        self.flush();
    }

    /// The result as JSON, in one line.
    pub fn json(&mut self, value: &impl Serialize) {
        let text = serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        let text: Cow<str> = text::json(&text);
        self.write(&text, "\n");
    }

    /// A line beside the result.
    pub fn note(&mut self, line: impl Into<Line>) {
        self.flush();
        for line in line.into().folded(self.err_width) {
            // Nobody is left to be told that standard error is closed.
            drop(writeln!(self.err, "{}", line.render(self.err_colour)));
        }
    }

    /// Lines beside the result.
    pub fn notes(&mut self, lines: impl IntoIterator<Item = Line>) {
        for line in lines {
            self.note(line);
        }
    }

    /// `error: …`, its details, and what to do next.
    pub fn failure(&mut self, failure: &Failure) {
        let mut lines = failure.message.lines();
        let first = lines.next().unwrap_or_default();
        self.note(Line::new().and(Look::Bad, "error:").plain(format!(" {first}")));
        // An error of several lines shows its place in a text; its own help gives way to the failure's.
        let (helps, shown): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.trim_start().starts_with("help:"));
        for detail in shown.into_iter().chain(failure.details.iter().map(String::as_str)) {
            self.note(format!("  {detail}"));
        }
        let own = helps.first().map(|line| line.trim_start().trim_start_matches("help:").trim());
        if let Some(help) = failure.help.as_deref().or(own) {
            self.help(help);
        }
    }

    /// `help: …`
    pub fn help(&mut self, text: &str) {
        self.note(Line::new().and(Look::Bold, "help:").plain(format!(" {text}")));
    }

    /// Asks on standard error and reads a line of standard input; `None` at its end.
    pub fn ask(&mut self, question: &str) -> Option<String> {
        self.flush();
        let question = text::safe(question).into_owned();
        write!(self.err, "{question} ").and_then(|()| self.err.flush()).ok()?;
        self.next_line()
    }

    /// The next line of standard input, without spaces around it; `None` at its end.
    pub fn next_line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.input.read_until(b'\n', &mut line) {
            Ok(read) if read > 0 => Some(String::from_utf8_lossy(&line).trim().to_owned()),
            _ => None,
        }
    }

    /// Whether whoever read standard output has gone.
    pub fn closed(&self) -> bool {
        self.closed
    }

    /// Everything that was written is out.
    pub fn flush(&mut self) {
        self.closed |= self.out.flush().is_err();
    }

    fn write(&mut self, text: &str, end: &str) {
        // `remotectl guests | head -1` is no failure.
        self.closed |= self.out.write_all(text.as_bytes()).and_then(|()| self.out.write_all(end.as_bytes())).is_err();
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use std::{cell::RefCell, rc::Rc};

    /// A place to write to that a test reads afterwards.
    #[derive(Clone, Default)]
    pub struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Paper {
        /// What was written.
        pub fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen with this to read, and its two papers.
    pub fn screen(input: &'static str) -> (Screen, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        (Screen::to(out.clone(), err.clone(), input.as_bytes()), out, err)
    }

    #[test]
    fn colour_only_underlines() {
        let line = Line::new().and(Look::Good, "✓").plain(" web\u{1b}[2J-server  ");
        assert_eq!(line.render(false), "✓ web-server");
        assert_eq!(line.render(true), "\u{1b}[32m✓\u{1b}[0m web-server");
    }

    #[test]
    fn an_error_shows_its_place_and_one_help() {
        let (mut screen, _, err) = screen("");
        let message = "`and` is missing before `&`\n  tag=web &\n          ^\n  help: write key=value";
        screen.failure(&Failure::new(message));
        assert_eq!(
            err.text(),
            "error: `and` is missing before `&`\n    tag=web &\n            ^\nhelp: write key=value\n"
        );
    }

    #[test]
    fn results_and_the_rest_go_their_own_ways() {
        let (mut screen, out, err) = screen("yes\n");
        screen.line("result");
        screen.help("do this");
        screen.json(&serde_json::json!({"a": "\u{202e}"}));
        assert_eq!(screen.ask("Well?").as_deref(), Some("yes"));
        assert_eq!(screen.ask("And now?"), None);
        assert_eq!(out.text(), "result\n{\"a\":\"\\u202e\"}\n");
        assert_eq!(err.text(), "help: do this\nWell? And now? ");
    }
}
