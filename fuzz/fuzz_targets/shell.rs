//! Any bytes as a shell command: never a panic, and nothing counts as a reader that a shell would make more of.

#![no_main]

use libfuzzer_sys::fuzz_target;
use remotectl::model::shell::only_reads;

fuzz_target!(|data: &[u8]| {
    let command = String::from_utf8_lossy(data);
    if !only_reads(&command) {
        return;
    }
    assert!(!command.contains(['$', '`', '\\', '<', '>', '(', ')', '\n', '\r', '\0']), "{command:?}");
    // Quotes taken off, each call begins with a program by its plain name.
    let unquoted = unquoted(&command);
    for call in unquoted.split(['|', '&', ';']).map(str::trim).filter(|call| !call.is_empty()) {
        let name = call.split(' ').next().unwrap_or_default();
        assert!(!name.contains('=') && !["sh", "rm", "env", "exec", "eval", "sudo", "xargs"].contains(&name), "{command:?}");
    }
    for word in ["rm", "sh", "tee", "exec"] {
        assert!(!only_reads(&format!("{command}; {word} x")), "{command:?}");
        assert!(!only_reads(&format!("{command} | {word}")), "{command:?}");
    }
});

/// What stands outside quotes; inside of one kind of them the other is a letter.
fn unquoted(command: &str) -> String {
    let mut inside = None;
    let outside = |c: &char| {
        let quote = matches!(c, '\'' | '"');
        match inside {
            None if quote => inside = Some(*c),
            Some(open) if open == *c => inside = None,
            Some(_) => {}
            None => return true,
        }
        false
    };
    command.chars().filter(outside).collect()
}
