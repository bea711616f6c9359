//! `doctor`, as people read it: a line a thing, and below it what mends it.

use super::{
    screen::{Line, Look, Screen},
    table, text,
};
use crate::{
    model::Exit,
    roles::doctor::{self, Standing},
};

/// Looks at everything and tells; exit 1 where something failed.
pub fn doctor(screen: &mut Screen, json: bool) -> Exit {
    print(screen, &doctor::examine(), json)
}

fn print(screen: &mut Screen, lines: &[doctor::Line], json: bool) -> Exit {
    let count = |standing| lines.iter().filter(|line| line.verdict.standing == standing).count();
    let (failed, warnings) = (count(Standing::Failed), count(Standing::Warning));
    let exit = if failed == 0 { Exit::Done } else { Exit::Failed };
    if json {
        screen.json(&serde_json::json!({"ok": failed == 0, "checks": lines}));
        return exit;
    }
    let wide = lines.iter().map(|line| table::width(line.check)).max().unwrap_or_default();
    let mut before = "";
    for line in lines {
        let (look, mark) = match line.verdict.standing {
            Standing::Good => (Look::Good, "✓"),
            Standing::Failed => (Look::Bad, "✗"),
            Standing::Warning => (Look::Warn, "!"),
            Standing::Skipped => (Look::Dim, "–"),
        };
        let name = if line.check == before { "" } else { line.check };
        before = line.check;
        let start = Line::new().and(look, mark).plain(format!(" {}  ", table::padded(name, wide)));
        indented(screen, start, wide + 4, &line.verdict.found);
        if let Some(mend) = &line.verdict.mend {
            // Not folded: commands are copied from it.
            screen.line(Line::from(" ".repeat(wide + 4)).and(Look::Bold, "help:").plain(format!(" {mend}")));
        }
    }
    screen.note(match (failed, warnings) {
        (0, 0) => "Nothing is wrong.".to_owned(),
        (0, some) => format!("Nothing has failed; {some} to look at."),
        (some, 0) => format!("{some} failed."),
        (failed, some) => format!("{failed} failed, {some} to look at."),
    });
    exit
}

/// What was found, behind its beginning; on a terminal, further lines begin in the same column.
fn indented(screen: &mut Screen, start: Line, indent: usize, found: &str) {
    let shown = text::safe(found);
    let lines = match screen.width {
        Some(width) if width > indent + 16 => text::wrapped(&shown, width - indent),
        _ => vec![shown.into_owned()],
    };
    let mut lines = lines.into_iter();
    screen.line(start.plain(lines.next().unwrap_or_default()));
    for line in lines {
        screen.line(format!("{}{line}", " ".repeat(indent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::screen::tests::screen, roles::doctor::Verdict};

    fn lines() -> Vec<doctor::Line> {
        let line = |check, standing, found: &str, mend: Option<&str>| doctor::Line {
            check,
            verdict: Verdict { standing, found: found.into(), mend: mend.map(str::to_owned) },
        };
        vec![
            line("hub", Standing::Good, "h1 at /run/remotectl/hub.sock answers in 2 ms", None),
            line("services", Standing::Failed, "remotectl-agent is dead", Some("`systemctl start remotectl-agent`")),
            line("services", Standing::Good, "remotectl-hub runs\u{1b}[2J, pid 7", None),
            line("clock", Standing::Warning, "the hub's is 9 s ahead", Some("`timedatectl set-ntp true`")),
            line("programs", Standing::Skipped, "this is no Proxmox node", None),
        ]
    }

    fn shown(width: Option<usize>) -> String {
        let (mut screen, out, err) = screen("");
        screen.width = width;
        assert_eq!(print(&mut screen, &lines(), false), Exit::Failed);
        screen.flush();
        format!("\n{}{}", out.text(), err.text())
    }

    #[test]
    fn each_line_says_what_was_found_and_what_mends_it() {
        insta::assert_snapshot!(shown(None));
        insta::assert_snapshot!(shown(Some(40)));
    }

    #[test]
    fn as_json_it_is_one_object() {
        let (mut screen, out, _) = screen("");
        print(&mut screen, &lines()[..1], true);
        screen.flush();
        insta::assert_snapshot!(out.text(), @r#"{"ok":true,"checks":[{"check":"hub","standing":"good","found":"h1 at /run/remotectl/hub.sock answers in 2 ms"}]}"#);
    }
}
