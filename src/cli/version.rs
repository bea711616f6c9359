//! `version`: what this executable was made from, and what it speaks.

use super::screen::Screen;
use crate::roles::version::THIS;

/// Prints it: `remotectl 0.1.0` in the first line, for whoever reads only that.
pub fn version(screen: &mut Screen, json: bool) {
    if json {
        screen.json(&THIS);
        return;
    }
    screen.line(format!("remotectl {}", THIS.version));
    let protocol = THIS.protocol.to_string();
    let lines =
        [("commit", THIS.commit), ("target", THIS.target), ("protocol", protocol.as_str()), ("rustc", THIS.rustc)];
    for (name, value) in lines {
        screen.line(format!("{name:<8}  {value}"));
    }
}
