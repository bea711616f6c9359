//! Where lines come from: an editable line with a history on a terminal, plain lines from anything else. The history
//! lives in memory: the demo leaves nothing.

use crate::{cli::screen::Screen, model::Failure, sys::env};
use rustyline::{
    Behavior, Config, Editor,
    error::ReadlineError,
    history::{History as _, MemHistory},
};

/// What stands before what is typed.
const SIGN: &str = "remotectl> ";
/// Lines that are remembered.
const REMEMBERED: usize = 500;

/// A source of lines.
pub enum Prompt {
    /// A terminal on which lines can be edited.
    Terminal(Box<Editor<(), MemHistory>>),
    /// One that shows lines and nothing more.
    Plain,
    /// A pipe or a file.
    Silent,
}

impl Prompt {
    /// The one that fits the screen.
    pub fn new(screen: &Screen) -> Result<Self, Failure> {
        if !screen.interactive {
            return Ok(Self::Silent);
        }
        if env::terminal_is_plain() {
            return Ok(Self::Plain);
        }
        let failed = |error: ReadlineError| Failure::of("preparing the prompt", &error);
        // Where standard output goes into a file, the line is edited on the terminal all the same.
        let behavior = if screen.width.is_some() { Behavior::Stdio } else { Behavior::PreferTerm };
        let config = Config::builder().behavior(behavior).bracketed_paste(false);
        let config = config.max_history_size(REMEMBERED).map_err(failed)?.build();
        let history = MemHistory::with_config(&config);
        Editor::with_history(config, history).map(|editor| Self::Terminal(Box::new(editor))).map_err(failed)
    }

    /// The next line; `None` where there is none any more, or where somebody wants to leave.
    pub fn read(&mut self, screen: &mut Screen) -> Result<Option<String>, Failure> {
        screen.flush();
        let editor = match self {
            Self::Terminal(editor) => editor,
            Self::Plain => return Ok(screen.ask(SIGN.trim_end())),
            Self::Silent => return Ok(screen.next_line()),
        };
        match editor.readline(SIGN) {
            Ok(line) => {
                // A line that is not remembered was typed all the same.
                drop(editor.history_mut().add(line.trim()));
                Ok(Some(line))
            }
            Err(ReadlineError::Interrupted | ReadlineError::Eof) => Ok(None),
            Err(error) => Err(Failure::of("reading what is typed", &error)),
        }
    }
}
