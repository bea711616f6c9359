//! A moment at which the node's pve-agent is killed, as a test has planted it: at a call of `pct` whose words hold certain
//! ones, before it does anything, in the middle, or when it is done.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

/// Where a test leaves what it wants: a line `before|during|after WORDS` for each death, one after the other.
pub const PLANTED: &str = "/run/lab-fault";

/// When, with regard to the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    Before,
    During,
    After,
}

/// Whether this is the next planted moment's call; each comes once.
pub fn planted(arguments: &[String]) -> Option<When> {
    let text = fs::read_to_string(PLANTED).ok()?;
    let (line, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (when, words) = line.split_once(' ')?;
    if !arguments.join(" ").contains(words) {
        return None;
    }
    if rest.is_empty() {
        fs::remove_file(PLANTED).ok()?;
    } else {
        fs::write(PLANTED, rest).ok()?;
    }
    match when {
        "before" => Some(When::Before),
        "during" => Some(When::During),
        _ => Some(When::After),
    }
}

/// Kills the pve-agent, and with it, by its service's rules, whatever it has started: this program too, mostly.
pub fn kill() {
    let argv = ["kill", "--kill-whom=main", "--signal=KILL", "remotectl-pve-agent"];
    let status = Command::new("systemctl").args(argv).stdin(Stdio::null()).status();
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("lab: the pve-agent could not be killed");
    }
}

/// Runs the call's own program with a death before, during or after it, and gives its exit status.
pub fn with(when: When, mut command: Command) -> u8 {
    if when == When::Before {
        kill();
        return 137;
    }
    let Ok(mut child) = command.spawn() else { return 255 };
    if when == When::During {
        kill();
    }
    let code = wait(&mut child);
    if when == When::After {
        kill();
    }
    code
}

fn wait(child: &mut Child) -> u8 {
    let code = child.wait().ok().and_then(|status| status.code());
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(255)
}
