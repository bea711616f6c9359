//! The flow against a fake hub: what is shown, what is asked, what is sent, and the exit code.

use super::*;
use crate::{
    cli::screen::tests::screen,
    engine::planning::{PlanMeta, make_plan},
    llm::Proposal,
    model::{
        Inventory, Op, Policy, Target,
        answer::TargetResult,
        messages::{Event, PlanRecord},
        plan::Proposed,
    },
    roles::client::fake::FakeHub,
};
use serde_json::{Value, json};

fn homelab() -> Inventory {
    serde_json::from_str(include_str!("../../../tests/fixtures/homelab.json")).unwrap()
}

fn view(op: Op, targets: &[Target]) -> PlanView {
    let meta = PlanMeta { id: "7Q2K".into(), text: String::new(), planner: "grammar".into(), created: 0 };
    let steps = vec![Proposed { op, targets: targets.to_vec() }];
    PlanView::of(
        &make_plan(Proposal::Plan { summary: "x".into(), steps }, meta, &homelab(), &Policy::default()).unwrap(),
    )
}

fn restart() -> PlanView {
    view(Op::ServiceRestart { service: "nginx".into() }, &[Target::ct(118)])
}

fn result(target: Target, state: &str, summary: &str, help: Option<&str>, data: Value) -> TargetResult {
    let help = help.map(str::to_owned);
    TargetResult { step: 0, target, state: state.into(), summary: summary.into(), help, data, took_ms: 1400 }
}

/// A hub that plans this and carries it out with these results.
fn hub(view: &PlanView, state: PlanState, results: &[TargetResult], events: &[Event]) -> FakeHub {
    let plan = view.id.clone();
    let mut events = events.to_vec();
    events.extend(results.iter().map(|result| Event::Result { plan: plan.clone(), result: result.clone() }));
    let done = PlanView { results: results.to_vec(), ..view.clone() };
    events.push(Event::Ended { plan, state, answer: Answer::Plan(done) });
    let guests: Vec<Value> = homelab().guests.iter().map(|guest| serde_json::to_value(guest).unwrap()).collect();
    FakeHub::default()
        .answering("POST /api/v1/plans/7Q2K/approve", Ok(Value::Null))
        .answering("POST /api/v1/plans", Ok(serde_json::to_value(Answer::Plan(view.clone())).unwrap()))
        .answering("GET /api/v1/guests", Ok(Value::Array(guests)))
        .streaming(&events)
}

struct Seen {
    out: String,
    err: String,
    ended: Result<Exit, Failure>,
}

fn run(hub: &FakeHub, input: &'static str, interactive: bool, consent: &Consent, json: bool) -> Seen {
    let (mut screen, out, err) = screen(input);
    screen.interactive = interactive;
    let request = PlanRequest { text: Some("…".into()), ..PlanRequest::default() };
    let ended = ask(&mut screen, &hub.hub(), &request, consent, json);
    screen.flush();
    Seen { out: out.text(), err: err.text(), ended }
}

fn good() -> TargetResult {
    result(Target::ct(118), "succeeded", "nginx restarted, pid 812 → 4410, active 3 s", None, Value::Null)
}

#[test]
fn a_yes_carries_it_out() {
    let hub = hub(&restart(), PlanState::Done, &[good()], &[]);
    let seen = run(&hub, "?\ny\n", true, &Consent::default(), false);
    assert_eq!(seen.ended, Ok(Exit::Done));
    insta::assert_snapshot!(seen.out, @"  ✓ ct/118 web-server    nginx restarted, pid 812 → 4410, active 3 s    1.4 s");
    let err = seen.err.replace(restart().digest.as_str(), "DIGEST");
    insta::assert_snapshot!(err, @"
      service.restart nginx    ct/118 web-server on pve1    high: medium, +1 production
      Interrupts nginx on web-server for a moment. Nothing to undo.
    Carry out? [y/N/?]   service.restart nginx    ct/118 web-server on pve1    high: medium, +1 production
      Interrupts nginx on web-server for a moment. Nothing to undo.
      plan 7Q2K by grammar, digest DIGEST
    Carry out? [y/N/?] Done. Plan 7Q2K.
    ");
    let asked = hub.asked();
    assert!(asked[1].starts_with("GET /api/v1/guests?selector=ct%2F118"), "{asked:?}");
    assert!(asked[2].starts_with("POST /api/v1/plans/7Q2K/approve {\"digest\":"), "{asked:?}");
    assert!(asked[3].starts_with("POST /api/v1/plans/7Q2K/execute {\"digest\":"), "{asked:?}");
}

#[test]
fn without_a_yes_nothing_is_done() {
    for (input, interactive) in [("n\n", true), ("", true), ("\n", true), ("y\n", false)] {
        let hub = hub(&restart(), PlanState::Done, &[good()], &[]);
        let failure = run(&hub, input, interactive, &Consent::default(), false).ended.unwrap_err();
        assert_eq!(failure.exit, Exit::Denied);
        assert!(failure.help.unwrap().contains("`remotectl approve 7Q2K`"));
        assert!(!hub.asked().iter().any(|asked| asked.contains("approve") || asked.contains("execute")));
    }
}

#[test]
fn a_critical_plan_wants_its_name() {
    let view = view(Op::GuestDestroy {}, &[Target::ct(171)]);
    let gone = result(Target::ct(171), "succeeded", "deleted", None, Value::Null);
    let yes = Consent { yes: true, typed: None };
    for (input, interactive, consent, carried) in [
        ("sonarr\n", true, yes.clone(), true),
        ("y\n", true, yes.clone(), false),
        ("", false, yes, false),
        ("", false, Consent { yes: false, typed: Some("sonarr".into()) }, true),
    ] {
        let hub = hub(&view, PlanState::Done, std::slice::from_ref(&gone), &[]);
        let seen = run(&hub, input, interactive, &consent, false);
        assert_eq!(seen.ended.is_ok(), carried, "{input:?} {consent:?}");
        assert_eq!(hub.asked().iter().any(|asked| asked.contains("\"typed\":\"sonarr\"")), carried);
    }
}

#[test]
fn failures_say_what_to_do_and_count() {
    let view = view(Op::ServiceReload { service: "ssh".into() }, &[Target::ct(118), Target::ct(140)]);
    let bad =
        result(Target::ct(140), "failed", "no space left on /\u{1b}[2J", Some("free space on ct/140"), Value::Null);
    let hub = hub(&view, PlanState::PartlyFailed, &[good(), bad], &[]);
    let seen = run(&hub, "", false, &Consent { yes: true, typed: None }, false);
    assert_eq!(seen.ended, Ok(Exit::Partly));
    insta::assert_snapshot!(seen.out, @"
    ✓ ct/118 web-server    nginx restarted, pid 812 → 4410, active 3 s    1.4 s
    ✗ ct/140 gitea         no space left on /    1.4 s
    ");
    insta::assert_snapshot!(seen.err, @"
      service.reload ssh    2 containers    medium: low, +1 production
        ct/118 web-server    pve1    Ubuntu 24.04
        ct/140 gitea         pve3    Debian 13
      Nothing to undo.
    1 of 2 done. Plan 7Q2K.
    help: free space on ct/140
    ");
}

#[test]
fn output_is_the_result_and_comes_once() {
    let view = view(Op::ExecRun { command: "uptime".into(), timeout: None }, &[Target::ct(118)]);
    let data = json!({"exit_code": 0, "stdout": "up 3 days\n", "stderr": ""});
    let done = result(Target::ct(118), "succeeded", "exit code 0", None, data);
    let piece = Event::Output { plan: "7Q2K".into(), step: 0, target: Target::ct(118), text: "up 3 days\n".into() };
    for events in [&[piece][..], &[]] {
        let hub = hub(&view, PlanState::Done, std::slice::from_ref(&done), events);
        let seen = run(&hub, "", false, &Consent::default(), false);
        assert_eq!((seen.out.as_str(), seen.ended), ("up 3 days\n", Ok(Exit::Done)));
        assert_eq!(seen.err, "  ✓ ct/118 web-server    exit code 0    1.4 s\n");
    }
}

#[test]
fn json_is_one_object_whatever_happens() {
    let hub = hub(&restart(), PlanState::Failed, &[result(Target::ct(118), "failed", "no", None, Value::Null)], &[]);
    let seen = run(&hub, "", false, &Consent { yes: true, typed: None }, true);
    assert_eq!((seen.ended, seen.err.as_str()), (Ok(Exit::Failed), ""));
    let Answer::Plan(view) = serde_json::from_str(&seen.out).unwrap() else { panic!() };
    assert_eq!(view.results.len(), 1);
    let seen = run(&hub, "", false, &Consent::default(), true);
    assert_eq!(seen.ended.unwrap_err().exit, Exit::Denied);
    assert!(matches!(serde_json::from_str(&seen.out).unwrap(), Answer::Plan(_)));
}

#[test]
fn what_can_not_work_is_not_begun() {
    let view = view(Op::ServiceRestart { service: "nginx".into() }, &[Target::ct(121)]);
    let hub = hub(&view, PlanState::Done, &[], &[]);
    let seen = run(&hub, "y\n", true, &Consent { yes: true, typed: None }, false);
    let failure = seen.ended.unwrap_err();
    assert_eq!(failure.help.as_deref(), Some("start it: `remotectl run guest.start ct/121`"));
    assert!(!hub.asked().iter().any(|asked| asked.contains("execute")));
}

#[test]
fn questions_and_refusals_have_their_exit_codes() {
    for (answer, exit) in [
        (json!({"outcome": "clarify", "question": "Which one?", "candidates": []}), Exit::Clarify),
        (json!({"outcome": "refuse", "reason": "no"}), Exit::Refused),
    ] {
        let hub = FakeHub::default().answering("POST /api/v1/plans", Ok(answer));
        assert_eq!(run(&hub, "", false, &Consent::default(), false).ended, Ok(exit));
    }
}

#[test]
fn a_lost_connection_is_not_a_lost_plan() {
    let hub = hub(&restart(), PlanState::Done, &[], &[]).streaming(&[]);
    let failure = run(&hub, "", false, &Consent { yes: true, typed: None }, false).ended.unwrap_err();
    assert_eq!(failure.exit, Exit::Unreachable);
    assert_eq!(failure.help.as_deref(), Some("`remotectl show 7Q2K` shows how it went on"));
}

#[test]
fn an_approved_plan_is_carried_out_and_an_old_one_is_not() {
    for (state, begun) in [(PlanState::Proposed, true), (PlanState::Done, false)] {
        let view = restart();
        let record = PlanRecord {
            state,
            text: "…".into(),
            operator: "root".into(),
            created: 0,
            ended: None,
            approved_by: None,
            answer: Answer::Plan(view.clone()),
        };
        let hub = hub(&view, PlanState::Done, &[good()], &[])
            .answering("GET /api/v1/plans/7Q2K", Ok(serde_json::to_value(record).unwrap()));
        let (mut screen, ..) = screen("");
        assert_eq!(approve(&mut screen, &hub.hub(), "7Q2K", None, false).is_ok(), begun);
        assert_eq!(hub.asked().iter().any(|asked| asked.contains("/execute")), begun);
    }
}
