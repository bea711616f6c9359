//! Configuration files: a fragment as it is written (every key optional, unknown keys an error), settings as they hold.

use crate::{
    model::{Exit, Failure},
    sys::files,
};
use serde::de::DeserializeOwned;
use std::path::Path;

/// Reads a TOML file; one that is not there is an empty one.
pub fn fragment<T: DeserializeOwned + Default>(path: &Path) -> Result<T, Failure> {
    let text = files::read_text_if_there(path).map_err(|error| Failure::of("reading the configuration", &error))?;
    text.map_or_else(|| Ok(T::default()), |text| parse(path, &text))
}

/// Reads a TOML file that has to be there.
pub fn required<T: DeserializeOwned>(path: &Path, help: &str) -> Result<T, Failure> {
    let text = files::read_text_if_there(path).map_err(|error| Failure::of("reading the configuration", &error))?;
    let text = text.ok_or_else(|| Failure::new(format!("there is no {}", path.display())).help(help))?;
    parse(path, &text)
}

fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<T, Failure> {
    toml::from_str(text).map_err(|error| {
        let mut failure = Failure::new(format!("{}: {}", path.display(), error.message())).exit(Exit::Usage);
        if let Some(span) = error.span() {
            let line = text[..span.start].matches('\n').count() + 1;
            failure = failure.detail(format!("line {line}: {}", text.lines().nth(line - 1).unwrap_or_default().trim()));
        }
        failure.help(format!("mend {} and start again", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fragment {
        listen: Option<String>,
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("hub.toml");
        assert_eq!(fragment::<Fragment>(&path).unwrap(), Fragment::default());
        files::write_atomic(&path, b"listen = \"a\"\nlisten_on = \"b\"\n", 0o600).unwrap();
        let failure = fragment::<Fragment>(&path).unwrap_err();
        assert!(failure.message.contains("unknown field `listen_on`"), "{failure}");
        assert_eq!(failure.details, ["line 2: listen_on = \"b\""]);
    }
}
