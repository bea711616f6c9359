//! `version`: what this executable was made from, and what it speaks.

use super::screen::Screen;
use crate::roles::version::this;

/// Prints it: `remotectl 0.1.0` in the first line, for whoever reads only that.
pub fn version(screen: &mut Screen, json: bool) {
    let this = this();
    if json {
        screen.json(&this);
        return;
    }
    screen.line(format!("remotectl {}", this.version));
    let protocol = this.protocol.to_string();
    let lines =
        [("commit", this.commit), ("target", this.target), ("protocol", protocol.as_str()), ("rustc", this.rustc)];
    for (name, value) in lines {
        screen.line(format!("{name:<8}  {value}"));
    }
}
