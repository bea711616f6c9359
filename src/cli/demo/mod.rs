//! `remotectl demo`: a tour, and a prompt at which sentences and commands are carried out on a simulated cluster.

mod choice;
mod line;
mod prompt;
mod tour;

use super::{
    args::DemoArgs,
    flow::{self, Consent},
    screen::Screen,
};
use crate::{
    model::{Exit, Failure, messages::PlanRequest},
    roles::{
        client::Hub,
        demo::{self, Demo},
    },
};
use choice::Choice;
use line::Line;
use prompt::Prompt;

/// What is typed at the prompt is one conversation.
const TALK: &str = "prompt";

/// Runs the demo: at a prompt, or only what is to be asked.
pub fn run(screen: &mut Screen, args: &DemoArgs) -> Result<Exit, Failure> {
    let inventory = demo::inventory(args.inventory.as_deref())?;
    let demo = Demo::start(&inventory)?;
    let exit = demo.client().and_then(|hub| {
        let visit = Visit { demo: &demo, hub, consent: Consent { yes: args.yes.yes, typed: args.yes.confirm.clone() } };
        if args.ask.is_empty() { visit.talk(screen) } else { Ok(visit.ask_all(screen, &args.ask, args.json)) }
    });
    screen.flush();
    demo.end()?;
    exit
}

/// Somebody at the demo.
struct Visit<'a> {
    demo: &'a Demo,
    hub: Hub,
    consent: Consent,
}

impl Visit<'_> {
    /// Asks one thing after another; the exit code of the first that was not done.
    fn ask_all(&self, screen: &mut Screen, texts: &[String], json: bool) -> Exit {
        if !json {
            screen.notes(tour::opening(self.demo));
        }
        let mut exit = Exit::Done;
        for text in texts {
            if !json {
                screen.note("");
                screen.note(format!("$ remotectl ask \"{text}\""));
            }
            let asked = self.settled(screen, |screen| {
                flow::ask(screen, &self.hub, &request(text), &self.consent, json).map_err(for_now_only)
            });
            if exit == Exit::Done {
                exit = asked;
            }
        }
        exit
    }

    /// Reads lines until somebody leaves.
    fn talk(&self, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut prompt = Prompt::new(screen)?;
        screen.notes(tour::tour(self.demo, screen.width));
        let mut open: Option<Choice> = None;
        while let Some(typed) = prompt.read(screen)? {
            let meant = match self.meaning(&typed, open.as_ref()) {
                Ok(Line::Quit) => break,
                meant => meant,
            };
            if !matches!(meant, Ok(Line::Empty)) {
                open = None;
            }
            self.settled(screen, |screen| self.carry_out(screen, meant?, &mut open));
            screen.flush();
            if screen.closed() {
                break;
            }
        }
        Ok(Exit::Done)
    }

    /// What was typed: the answer to an open question, or a line of its own.
    fn meaning(&self, typed: &str, open: Option<&Choice>) -> Result<Line, Failure> {
        match open.and_then(|choice| Some((choice, choice.chosen(typed)?))) {
            Some((choice, target)) => choice.reworded(target, &self.hub).map(Line::Sentence),
            None => line::meaning(typed),
        }
    }

    fn carry_out(&self, screen: &mut Screen, meant: Line, open: &mut Option<Choice>) -> Result<Exit, Failure> {
        match meant {
            Line::Empty | Line::Quit => {}
            Line::Help => screen.notes(tour::help(self.demo, screen.width)),
            Line::Said(text) => screen.block(&text),
            Line::Sentence(text) => {
                let request = PlanRequest { conversation: Some(TALK.to_owned()), ..request(&text) };
                let made = self.hub.plan(&request)?;
                *open = Choice::of(&text, &made, &self.hub)?;
                let exit = flow::settle(screen, &self.hub, made, &request, &self.consent, false)?;
                if open.is_some() {
                    screen.note("Type its number or name, or say something else.");
                }
                return Ok(exit);
            }
            Line::Client(call) => return super::ask_hub(screen, &self.hub, call),
            Line::Administer(call) => return super::administer(screen, &self.hub, call),
        }
        Ok(Exit::Done)
    }

    /// Does something and tells how it failed. What fails because the demo ends is nobody's failure.
    fn settled(&self, screen: &mut Screen, act: impl FnOnce(&mut Screen) -> Result<Exit, Failure>) -> Exit {
        match act(screen) {
            Ok(exit) => exit,
            Err(failure) => {
                self.demo.wait_if_ending();
                screen.failure(&failure);
                failure.exit
            }
        }
    }
}

/// What `--ask` left unconfirmed can't be approved later: its hub is gone by then.
fn for_now_only(failure: Failure) -> Failure {
    let critical = failure.help.as_deref().and_then(|help| help.split_once(" --confirm "));
    let how = critical.map(|(_, names)| format!("--confirm {}", names.trim_end_matches('`')));
    match failure.exit {
        Exit::Denied => failure.help(format!("the same command with {}", how.as_deref().unwrap_or("--yes"))),
        _ => failure,
    }
}

fn request(text: &str) -> PlanRequest {
    PlanRequest { text: Some(text.to_owned()), ..PlanRequest::default() }
}
