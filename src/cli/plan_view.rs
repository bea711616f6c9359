//! Plans, questions and refusals as people read them.

use super::{
    book::Book,
    effect,
    screen::{Line, Look, Screen},
    table,
};
use crate::model::{
    Risk, Step, Target,
    answer::PlanView,
    lint::{Finding, Severity},
};

/// More targets than these are counted, not listed, unless somebody asks for all.
const LISTED: usize = 20;

/// The lines of a plan before it is carried out; with everything where `full`.
pub fn plan(view: &PlanView, book: &Book, full: bool) -> Vec<Line> {
    let mut lines = Vec::new();
    let wide = view.steps.iter().map(|step| table::width(&what(step))).max().unwrap_or_default();
    let whom = view.steps.iter().map(|step| table::width(&on_what(step, book))).max().unwrap_or_default();
    for (index, step) in view.steps.iter().enumerate() {
        lines.push(
            Line::from("  ")
                .and(Look::Bold, table::padded(&what(step), wide))
                .plain(format!("    {}    ", table::padded(&on_what(step, book), whom)))
                .and(look(step.risk), risk(step)),
        );
        if step.targets.len() > 1 {
            lines.extend(listed(&step.targets, book, full));
        }
        let sentence = effect::sentence(step, book);
        if !sentence.is_empty() {
            lines.push(Line::from(format!("  {sentence}")));
        }
        lines.extend(findings(view, index));
    }
    if full {
        lines.push(Line::from(format!("  plan {} by {}, digest {}", view.id, view.planner, view.digest)));
    }
    lines.into_iter().map(Line::folding).collect()
}

/// The help of a plan's findings, each once.
pub fn helps(findings: &[Finding]) -> Vec<String> {
    let mut helps = Vec::new();
    for help in findings.iter().filter_map(|finding| finding.help.clone()) {
        if !helps.contains(&help) {
            helps.push(help);
        }
    }
    helps
}

/// A question with what it might have meant.
pub fn question(screen: &mut Screen, question: &str, candidates: &[Target], book: &Book) {
    screen.line(Line::new().and(Look::Bold, question).folding());
    let wide = candidates.iter().map(|target| table::width(&book.label(target))).max().unwrap_or_default();
    for (index, target) in candidates.iter().enumerate() {
        let label = table::padded(&book.label(target), wide);
        screen.line(format!("  {:<2} {label}    {}", index + 1, book.tags(target).join(", ")));
    }
    if let [first, ..] = candidates {
        screen.help(&format!("say it again with the one that is meant, such as \"… on {}\"", book.called(first)));
    }
}

/// `service.restart nginx`.
pub fn what(step: &Step) -> String {
    [step.op.name(), &effect::arguments(&step.op)].join(" ").trim_end().to_owned()
}

fn on_what(step: &Step, book: &Book) -> String {
    match &step.targets[..] {
        [target] => match book.node(target) {
            "" => book.label(target),
            node => format!("{} on {node}", book.label(target)),
        },
        many => effect::count(many.len(), many),
    }
}

/// `high: medium, +1 production`; the reason only where it says more than the risk.
fn risk(step: &Step) -> String {
    match step.reason.as_str() {
        reason if reason == step.risk.as_str() || step.risk == Risk::Observe => step.risk.to_string(),
        reason => format!("{}: {reason}", step.risk),
    }
}

fn look(risk: Risk) -> Look {
    match risk {
        Risk::Observe | Risk::Low => Look::Dim,
        Risk::Medium => Look::Plain,
        Risk::High => Look::Warn,
        Risk::Critical => Look::Bad,
    }
}

fn listed(targets: &[Target], book: &Book, full: bool) -> Vec<Line> {
    let most = if full || targets.len() <= LISTED + 1 { targets.len() } else { LISTED };
    let rows: Vec<[String; 3]> = targets[..most]
        .iter()
        .map(|target| [book.label(target), book.node(target).to_owned(), book.os(target).to_owned()])
        .collect();
    let wide = |column: usize| rows.iter().map(|row| table::width(&row[column])).max().unwrap_or_default();
    let widths = [wide(0), wide(1)];
    let mut lines: Vec<Line> = rows
        .iter()
        .map(|[label, node, os]| {
            Line::from(format!("    {}    {}    {os}", table::padded(label, widths[0]), table::padded(node, widths[1])))
        })
        .collect();
    if most < targets.len() {
        lines.push(Line::from(format!("    and {} more", targets.len() - most)));
    }
    lines
}

/// What the linter says of one step; the same thing of several targets once.
fn findings(view: &PlanView, step: usize) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in view.findings.iter().filter(|finding| finding.step == step).map(finding_line) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines
}

fn finding_line(finding: &Finding) -> Line {
    let (look, word) = match finding.severity {
        Severity::Note => (Look::Dim, "note"),
        Severity::Warning => (Look::Warn, "warning"),
        Severity::Error => (Look::Bad, "not possible"),
    };
    Line::from("  ").and(look, format!("{word}:")).plain(format!(" {}", finding.message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::screen::tests,
        engine::planning::{PlanMeta, make_plan},
        llm::Proposal,
        model::{Inventory, Op, Policy, plan::Proposed},
    };

    fn homelab() -> Inventory {
        serde_json::from_str(include_str!("../../tests/fixtures/homelab.json")).unwrap()
    }

    fn shown(steps: Vec<(Op, Vec<Target>)>) -> String {
        let steps = steps.into_iter().map(|(op, targets)| Proposed { op, targets }).collect();
        let meta = PlanMeta { id: "7Q2K".into(), text: String::new(), planner: "grammar".into(), created: 0 };
        let proposal = Proposal::Plan { summary: String::new(), steps };
        let made = make_plan(proposal, meta, &homelab(), &Policy::default()).unwrap();
        let lines = plan(&PlanView::of(&made), &Book::of_inventory(&homelab()), false);
        let lines: Vec<String> = lines.iter().map(|line| line.render(false)).collect();
        format!("\n{}\n", lines.join("\n"))
    }

    #[test]
    fn a_step_names_what_on_whom_and_how_risky() {
        insta::assert_snapshot!(shown(vec![(Op::ServiceRestart { service: "nginx".into() }, vec![Target::ct(118)])]), @"
        service.restart nginx    ct/118 web-server on pve1    high: medium, +1 production
        Interrupts nginx on web-server for a moment. Nothing to undo.
        ");
        insta::assert_snapshot!(shown(vec![(Op::SystemInfo {}, vec![Target::ct(118)])]), @"system.info    ct/118 web-server on pve1    observe");
        insta::assert_snapshot!(shown(vec![(Op::GuestDestroy {}, vec![Target::ct(171)])]), @"
        guest.destroy    ct/171 sonarr on pve3    critical
        Deletes sonarr with all disks. Can't be undone.
        ");
    }

    #[test]
    fn a_fan_out_lists_its_targets_and_steps_line_up() {
        let three = vec![Target::ct(118), Target::ct(119), Target::vm(201)];
        let start = Op::GuestStart {};
        let migrate = Op::GuestMigrate { node: "pve3".into() };
        insta::assert_snapshot!(shown(vec![(Op::AgentDeploy {}, three), (start, vec![Target::ct(121)]), (migrate, vec![Target::ct(118)])]), @"
        agent.deploy          3 guests                     medium: low, +1 production
          ct/118 web-server     pve1    Ubuntu 24.04
          ct/119 web-staging    pve2    Ubuntu 22.04
          vm/201 docker-host    pve2    Ubuntu 24.04
        Undo: agent.remove.
        note: ct/118 web-server has an agent already (1.0.0)
        not possible: no pve-agent answers on pve2
        guest.start           ct/121 wiki on pve3          low
        Undo: guest.shutdown.
        guest.migrate pve3    ct/118 web-server on pve1    high: medium, +1 production
        Moves web-server to pve3; a running container restarts there. Undo: guest.migrate pve1.
        ");
    }

    #[test]
    fn many_targets_are_counted() {
        let all: Vec<Target> = (0..40).map(|index| Target::ct(100 + index)).collect();
        let text = shown(vec![(Op::SystemInfo {}, all)]);
        assert!(text.contains("and 20 more"), "{text}");
    }

    #[test]
    fn questions_number_their_candidates() {
        let (mut screen, out, err) = tests::screen("");
        let candidates = [Target::ct(130), Target::ct(119)];
        question(&mut screen, "Which one?\u{1b}[2J", &candidates, &Book::of_inventory(&homelab()));
        insta::assert_snapshot!(out.text(), @"
        Which one?
          1  ct/130 postgres-main    database, production
          2  ct/119 web-staging      web, staging
        ");
        insta::assert_snapshot!(err.text(), @r#"help: say it again with the one that is meant, such as "… on postgres-main""#);
    }
}
