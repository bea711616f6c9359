//! `remotectl demo`: a tour, and a prompt at which sentences and commands are carried out on a simulated cluster.

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
use line::Line;
use prompt::Prompt;

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
            tour::opening(self.demo).into_iter().for_each(|line| screen.note(line));
        }
        let mut exit = Exit::Done;
        for text in texts {
            if !json {
                screen.note("");
                screen.note(format!("$ remotectl ask \"{text}\""));
            }
            let asked = self.settled(screen, |screen| self.ask(screen, text, json));
            if exit == Exit::Done {
                exit = asked;
            }
        }
        exit
    }

    /// Reads lines until somebody leaves.
    fn talk(&self, screen: &mut Screen) -> Result<Exit, Failure> {
        let mut prompt = Prompt::new(screen)?;
        tour::tour(self.demo, screen.width).into_iter().for_each(|line| screen.note(line));
        while let Some(typed) = prompt.read(screen)? {
            let meant = match line::meaning(&typed) {
                Ok(Line::Quit) => break,
                Ok(meant) => meant,
                Err(failure) => {
                    screen.failure(&failure);
                    continue;
                }
            };
            self.settled(screen, |screen| self.carry_out(screen, meant));
            screen.flush();
            if screen.closed() {
                break;
            }
        }
        Ok(Exit::Done)
    }

    fn carry_out(&self, screen: &mut Screen, meant: Line) -> Result<Exit, Failure> {
        match meant {
            Line::Empty | Line::Quit => {}
            Line::Help => tour::help(self.demo, screen.width).into_iter().for_each(|line| screen.note(line)),
            Line::Said(text) => screen.block(&text),
            Line::Sentence(text) => return self.ask(screen, &text, false),
            Line::Client(call) => return super::ask_hub(screen, &self.hub, call),
            Line::Administer(call) => return super::administer(screen, &self.hub, call),
        }
        Ok(Exit::Done)
    }

    fn ask(&self, screen: &mut Screen, text: &str, json: bool) -> Result<Exit, Failure> {
        let request = PlanRequest { text: Some(text.to_owned()), ..PlanRequest::default() };
        flow::ask(screen, &self.hub, &request, &self.consent, json)
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
