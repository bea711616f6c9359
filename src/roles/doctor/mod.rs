//! `doctor`: looks for what could be wrong, seen from this machine, and says how to mend it. It changes nothing.
//!
//! A check is a small function that looks at one thing. To add one: the function, and its line in `CHECKS`.

mod here;
mod hub;
mod node;

use super::client::{
    self, Prefer,
    login::{self, Place},
};
use crate::{
    model::{Failure, messages::HubInfo},
    sys::{clock, env::Places},
};
use serde::Serialize;
use std::{
    sync::{Arc, OnceLock, mpsc},
    thread,
    time::{Duration, Instant},
};

/// How long a check may take. They all look at the same time.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the hub may take to answer one request: less, so that a check can still tell of it.
const ANSWER: Duration = Duration::from_millis(1500);

/// How one thing stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it should be.
    Good,
    /// Worth a second look; works.
    Warning,
    /// Wrong.
    Failed,
    /// Not looked at, because there is nothing to look at.
    Skipped,
}

/// What a check says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// A verdict, under the name of its check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The check.
    pub check: &'static str,
    /// What it says.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// Looks at one thing; nothing to say where that is not here.
type Check = fn(&World) -> Vec<Verdict>;

const CHECKS: &[(&str, Check)] = &[
    ("version", here::version),
    ("hub", hub::answers),
    ("certificate", hub::certificate),
    ("clock", hub::clock),
    ("versions", hub::versions),
    ("nodes", hub::nodes),
    ("agents", hub::agents),
    ("database", here::database),
    ("services", here::services),
    ("init system", here::init),
    ("disk", here::disk),
    ("directories", here::directories),
    ("programs", node::programs),
    ("rights", node::rights),
];

impl Verdict {
    fn good(found: impl Into<String>) -> Self {
        Self { standing: Standing::Good, found: found.into(), mend: None }
    }

    fn warning(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { standing: Standing::Warning, found: found.into(), mend: Some(mend.into()) }
    }

    fn failed(found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { standing: Standing::Failed, found: found.into(), mend: Some(mend.into()) }
    }

    fn skipped(found: impl Into<String>) -> Self {
        Self { standing: Standing::Skipped, found: found.into(), mend: None }
    }
}

impl From<&Failure> for Verdict {
    fn from(failure: &Failure) -> Self {
        Self { standing: Standing::Failed, found: failure.message.clone(), mend: failure.help.clone() }
    }
}

/// Looks at everything, and takes at most `PATIENCE` for it.
pub fn examine() -> Vec<Line> {
    within(CHECKS, &Arc::new(World::find()), PATIENCE)
}

/// Every check in a thread of its own; one that does not come back in time is said to hang, and left behind.
fn within(checks: &[(&'static str, Check)], world: &Arc<World>, patience: Duration) -> Vec<Line> {
    let (sender, verdicts) = mpsc::channel();
    for (index, (name, check)) in checks.iter().enumerate() {
        let (sender, world, check) = (sender.clone(), Arc::clone(world), *check);
        // A thread that can't be started is a check that does not come back.
        let _ = thread::Builder::new().name((*name).to_owned()).spawn(move || {
            // Nobody listens any more where it took too long.
            let _ = sender.send((index, check(&world)));
        });
    }
    drop(sender);
    let hangs = || vec![Verdict::warning(format!("not done within {patience:?}"), "look again: `remotectl doctor`")];
    let mut found: Vec<Option<Vec<Verdict>>> = vec![None; checks.len()];
    let deadline = Instant::now() + patience;
    while let Ok((index, verdict)) = verdicts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        found[index] = Some(verdict);
    }
    let lines = checks.iter().zip(found).map(|((check, _), verdicts)| (*check, verdicts.unwrap_or_else(hangs)));
    lines.flat_map(|(check, verdicts)| verdicts.into_iter().map(move |verdict| Line { check, verdict })).collect()
}

/// What the checks look at.
struct World {
    places: Places,
    /// Which hub the client would talk to.
    place: Result<Option<Place>, Failure>,
    answer: OnceLock<Result<Answer, Failure>>,
}

/// What the hub said of itself.
#[derive(Debug, Clone)]
struct Answer {
    info: HubInfo,
    took: Duration,
    /// How far its clock is ahead of this machine's, in seconds.
    ahead: i64,
}

impl World {
    fn find() -> Self {
        Self { places: Places::find(), place: client::place(Prefer::Login), answer: OnceLock::new() }
    }

    /// The hub's answer, asked for once; `None` where no hub is known.
    fn answer(&self) -> Option<&Result<Answer, Failure>> {
        let place = self.place.as_ref().ok()?.as_ref()?;
        Some(self.answer.get_or_init(|| {
            let began = Instant::now();
            let info = client::within(place, ANSWER)?.info()?;
            let ahead = info.time - clock::unix_seconds();
            Ok(Answer { info, took: began.elapsed(), ahead })
        }))
    }

    /// A client of the hub, where that answers.
    fn hub(&self) -> Option<client::Hub> {
        self.answer()?.as_ref().ok()?;
        client::within(self.place.as_ref().ok()?.as_ref()?, ANSWER).ok()
    }

    /// The login, where the hub is known by one.
    fn login(&self) -> Option<&login::Login> {
        match self.place.as_ref().ok()?.as_ref()? {
            Place::Login(login) => Some(login),
            Place::Socket(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::cancel::Cancel;
    use std::path::PathBuf;

    pub fn world(place: Result<Option<Place>, Failure>) -> World {
        let at = |name: &str| PathBuf::from("/nowhere").join(name);
        World { places: Places { config: at("etc"), state: at("lib"), run: at("run") }, place, answer: OnceLock::new() }
    }

    fn never(_: &World) -> Vec<Verdict> {
        Cancel::new().wait(Duration::from_hours(1));
        Vec::new()
    }

    #[test]
    fn a_check_that_hangs_is_said_to_and_the_others_stand() {
        let checks: &[(&str, Check)] =
            &[("stuck", never), ("fine", |_| vec![Verdict::good("yes")]), ("not here", |_| Vec::new())];
        let lines = within(checks, &Arc::new(world(Ok(None))), Duration::from_millis(50));
        let told: Vec<(&str, Standing)> = lines.iter().map(|line| (line.check, line.verdict.standing)).collect();
        assert_eq!(told, [("stuck", Standing::Warning), ("fine", Standing::Good)]);
    }

    #[test]
    fn without_a_hub_nothing_has_failed_and_the_first_step_is_named() {
        let world = world(Ok(None));
        let told = hub::answers(&world);
        assert_eq!(told[0].standing, Standing::Skipped);
        assert!(told[0].mend.as_ref().unwrap().contains("remotectl login"), "{told:?}");
        for check in [hub::certificate, hub::clock, hub::versions, hub::nodes, hub::agents] {
            assert_eq!(check(&world), []);
        }
    }

    #[test]
    fn a_hub_that_does_not_answer_is_the_one_thing_that_has_failed() {
        let directory = tempfile::tempdir().unwrap();
        let world = world(Ok(Some(Place::Socket(directory.path().join("hub.sock")))));
        assert_eq!(hub::answers(&world)[0].standing, Standing::Failed);
        for check in [hub::certificate, hub::clock, hub::versions, hub::nodes, hub::agents] {
            assert!(check(&world).iter().all(|verdict| verdict.standing == Standing::Skipped));
        }
    }
}
