//! From a request to its end: plan, show, ask where it must, carry out with progress, answer.

use super::{
    book::{self, Book},
    plan_view,
    results::Results,
    screen::Screen,
};
use crate::{
    model::{
        Answer, Exit, Failure, Risk,
        answer::PlanView,
        lint::{Severity, blocks},
        messages::{ApproveRequest, ExecuteRequest, PlanRequest},
        state::PlanState,
    },
    roles::client::Hub,
};

/// What was said beforehand about carrying out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent {
    /// `--yes`: whatever is not critical needs no question.
    pub yes: bool,
    /// `--confirm NAME`: typed in advance.
    pub typed: Option<String>,
}

/// `ask`, `run`, `deploy`, `remove`: makes a plan and carries it out.
pub fn ask(
    screen: &mut Screen,
    hub: &Hub,
    request: &PlanRequest,
    consent: &Consent,
    json: bool,
) -> Result<Exit, Failure> {
    let made = hub.plan(request)?;
    settle(screen, hub, made, request, consent, json)
}

/// Carries out what a request was answered with, or tells why not.
pub fn settle(
    screen: &mut Screen,
    hub: &Hub,
    made: Answer,
    request: &PlanRequest,
    consent: &Consent,
    json: bool,
) -> Result<Exit, Failure> {
    match made {
        Answer::Plan(view) => {
            let carry = Carry { hub, book: look_up(hub, &view), json };
            carry.planned(screen, view, request.dry_run, consent)
        }
        other => Ok(answer(screen, &other, &Book::default(), Some(hub), json)),
    }
}

/// `plan` with a hub: what would be done.
pub fn plan(screen: &mut Screen, hub: &Hub, request: &PlanRequest, json: bool) -> Result<Exit, Failure> {
    let made = hub.plan(request)?;
    let book = match &made {
        Answer::Plan(view) if !json => look_up(hub, view),
        _ => Book::default(),
    };
    let exit = answer(screen, &made, &book, Some(hub), json);
    if let (Answer::Plan(view), false) = (&made, json)
        && !blocks(&view.findings)
    {
        screen.help(&format!("`remotectl approve {}` carries it out", view.id));
    }
    Ok(exit)
}

/// `approve`: an operator's yes, and the carrying out.
pub fn approve(screen: &mut Screen, hub: &Hub, id: &str, typed: Option<String>, json: bool) -> Result<Exit, Failure> {
    let record = hub.record(id)?;
    let Answer::Plan(view) = record.answer else {
        return Err(Failure::new(format!("{id} is no plan")).help("`remotectl history` lists the plans"));
    };
    if record.state != PlanState::Proposed {
        return Err(Failure::new(format!("plan {id} is {}: there is nothing to approve", record.state))
            .help(format!("`remotectl show {id}` shows what came of it")));
    }
    let carry = Carry { hub, book: look_up(hub, &view), json };
    // Typing `approve` is the yes.
    carry.planned(screen, view, false, &Consent { yes: true, typed })
}

/// Prints an answer, and says which exit code it means.
pub fn answer(screen: &mut Screen, answer: &Answer, book: &Book, hub: Option<&Hub>, json: bool) -> Exit {
    if json {
        screen.json(answer);
    }
    match answer {
        Answer::Plan(view) => {
            if !json {
                for line in plan_view::plan(view, book, false) {
                    screen.line(line);
                }
                for help in plan_view::helps(&view.findings) {
                    screen.help(&help);
                }
            }
            Exit::Done
        }
        Answer::Clarify { question, candidates } => {
            if !json {
                let known = hub.filter(|_| !candidates.is_empty()).and_then(|hub| hub.guests("").ok());
                let known = known.map(|rows| Book::of_rows(&rows));
                plan_view::question(screen, question, candidates, known.as_ref().unwrap_or(book));
            }
            Exit::Clarify
        }
        Answer::Refuse { reason } => {
            if !json {
                let mut clauses = reason.split("; ");
                let mut failure = Failure::new(clauses.next().unwrap_or_default());
                failure.details = clauses.map(str::to_owned).collect();
                let unknown_name = failure.details.iter().any(|detail| detail.starts_with("closest"));
                failure.help = Some(match (unknown_name, hub) {
                    (true, Some(_)) => "`remotectl guests` lists them all".to_owned(),
                    (true, None) => "the inventory file names them all".to_owned(),
                    (false, _) => "`remotectl run --help` lists what can be done".to_owned(),
                });
                screen.failure(&failure);
            }
            Exit::Refused
        }
    }
}

/// Names for what a plan is about. A plan reads well enough without them, so failing here fails nothing.
fn look_up(hub: &Hub, view: &PlanView) -> Book {
    let Some(selector) = book::selector(&view.steps) else { return Book::default() };
    hub.guests(&selector).map(|rows| Book::of_rows(&rows)).unwrap_or_default()
}

struct Carry<'a> {
    hub: &'a Hub,
    book: Book,
    json: bool,
}

impl Carry<'_> {
    fn planned(&self, screen: &mut Screen, view: PlanView, dry_run: bool, consent: &Consent) -> Result<Exit, Failure> {
        let changes = view.risk > Risk::Observe;
        if dry_run {
            return Ok(answer(screen, &Answer::Plan(view), &self.book, None, self.json));
        }
        if !self.json && (changes || !view.findings.is_empty()) {
            for line in plan_view::plan(&view, &self.book, false) {
                screen.note(line);
            }
        }
        if blocks(&view.findings) {
            return Err(self.blocked(screen, view));
        }
        if view.confirm {
            let typed = match self.consent(screen, &view, consent) {
                Ok(typed) => typed,
                Err(failure) => {
                    if self.json {
                        screen.json(&Answer::Plan(view));
                    }
                    return Err(failure);
                }
            };
            self.hub.approve(&view.id, &ApproveRequest { digest: view.digest.clone(), typed })?;
        }
        self.execute(screen, &view)
    }

    fn blocked(&self, screen: &mut Screen, view: PlanView) -> Failure {
        let mut failure = Failure::new(format!("plan {} can't be carried out as it stands; nothing was done", view.id));
        // What mends the obstacle comes before what would be nice besides.
        let mut obstacles = view.findings.iter().filter(|finding| finding.severity == Severity::Error);
        let help = obstacles.find_map(|finding| finding.help.clone());
        failure.help = help.or_else(|| plan_view::helps(&view.findings).into_iter().next());
        if self.json {
            screen.json(&Answer::Plan(view));
        }
        failure
    }

    /// The operator's yes: what was typed for it, if that was due.
    fn consent(&self, screen: &mut Screen, view: &PlanView, consent: &Consent) -> Result<Option<String>, Failure> {
        let critical = view.risk == Risk::Critical;
        if critical {
            if let Some(typed) = &consent.typed {
                return Ok(Some(typed.clone()));
            }
        } else if consent.yes {
            return Ok(consent.typed.clone());
        }
        let id = &view.id;
        if !screen.interactive {
            let (what, how) = if critical {
                let names = self.names_to_type(view).join(",");
                ("the name of what it destroys", format!("`remotectl approve {id} --confirm {names}`"))
            } else {
                ("a confirmation", format!("`remotectl approve {id}`, or --yes beforehand"))
            };
            return Err(Failure::new(format!("plan {id} needs {what}: it is {}", view.risk))
                .help(how)
                .exit(Exit::Denied));
        }
        let denied = || {
            Failure::new("not confirmed; nothing was done")
                .help(format!("`remotectl approve {id}` within 10 minutes, or leave it"))
                .exit(Exit::Denied)
        };
        if critical {
            self.type_name(screen, view).ok_or_else(denied).map(Some)
        } else {
            self.say_yes(screen, view).then_some(None).ok_or_else(denied)
        }
    }

    fn say_yes(&self, screen: &mut Screen, view: &PlanView) -> bool {
        loop {
            match screen.ask("Carry out? [y/N/?]").as_deref() {
                Some("?") => {
                    for line in plan_view::plan(view, &self.book, true) {
                        screen.note(line);
                    }
                }
                Some(answer) => return matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"),
                None => return false,
            }
        }
    }

    /// What a critical plan destroys, by name.
    fn names_to_type(&self, view: &PlanView) -> Vec<String> {
        let mut names: Vec<String> = view
            .steps
            .iter()
            .filter(|step| step.risk == Risk::Critical)
            .flat_map(|step| &step.targets)
            .map(|target| match self.book.name(target) {
                "" => target.to_string(),
                name => name.to_owned(),
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn type_name(&self, screen: &mut Screen, view: &PlanView) -> Option<String> {
        let names = self.names_to_type(view);
        let typed = screen.ask(&format!("This can't be undone. Type {} to carry it out:", names.join(", ")))?;
        crate::engine::planning::typed_right(&typed, &names).then_some(typed)
    }

    fn execute(&self, screen: &mut Screen, view: &PlanView) -> Result<Exit, Failure> {
        let events = self.hub.execute(&view.id, &ExecuteRequest { digest: view.digest.clone() })?;
        let mut results = Results::new(screen, view, &self.book, self.json);
        for event in events {
            let event = match event {
                Ok(event) => event,
                Err(failure) => return Err(results.abandoned(failure)),
            };
            if let Some((state, answer)) = results.take(event) {
                return Ok(results.end(state, &answer));
            }
        }
        Err(results.abandoned(crate::roles::client::sse::lost("it ended before the plan did")))
    }
}

#[cfg(test)]
mod tests;
