//! Names of services: what operators may write, and what is refused before any program sees it.

/// A service's name as operators write it, known to be no option, no path and no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName(String);

/// A text that is no service name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no service name: {why}", text.escape_debug())]
pub struct NameError {
    text: String,
    why: &'static str,
}

impl ServiceName {
    /// Takes a name such as `nginx`, `nginx.service`, `wg-quick@wg0` or `fstrim.timer`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let wrong = |why| Err(NameError { text: text.chars().take(80).collect(), why });
        if text.is_empty() || text.len() > 250 {
            return wrong("a name has 1 to 250 characters");
        }
        if text.starts_with(['-', '.']) {
            return wrong("it starts with a dash or a dot");
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":_.\\@+-".contains(&byte)) {
            return wrong("letters, digits and : _ . @ + - make a name");
        }
        if [".target", ".mount", ".slice", ".scope", ".swap", ".device"].iter().any(|kind| text.ends_with(kind)) {
            return wrong("services, sockets, timers and paths are managed here, nothing else");
        }
        let plain = text.trim_end_matches(".service");
        if ["poweroff", "reboot", "halt", "kexec", "suspend", "hibernate", "soft-reboot"]
            .iter()
            .any(|end| plain.strip_prefix("systemd-") == Some(end))
        {
            return wrong("it ends the whole machine; system.reboot is for that");
        }
        Ok(Self(plain.to_owned()))
    }

    /// Without `.service`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
