//! `man`: the manual pages, made from the same declarations as the help. One page a command, as git has it: remotectl.1,
//! remotectl-ask.1, remotectl-hub-join-token.1.

use super::{help, screen::Screen};
use crate::{
    model::{Exit, Failure},
    roles::version::this,
    sys::files,
};
use clap::Command;
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};
use std::{
    io,
    path::{Path, PathBuf},
};

/// Pages are filled by whoever shows them; what is shown as it is fits 80 columns.
const WIDTH: usize = 72;

/// A page: its file's name, and its roff.
struct Page(String, Vec<u8>);

/// Prints a command's page, the program's own where none is named, or writes all of them into a directory.
pub fn man(screen: &mut Screen, what: &[PathBuf]) -> Result<Exit, Failure> {
    let pages = pages().map_err(|error| Failure::of("making the manual pages", &error))?;
    match what {
        [directory] if is_directory(directory) => write(screen, directory, &pages),
        words => {
            let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
            let name = [&["remotectl".into()], &words[..]].concat().join("-");
            let Some(Page(_, roff)) = pages.iter().find(|Page(file, _)| file.strip_suffix(".1") == Some(&name)) else {
                let failure = Failure::usage(format!("there is no command `{}` to show a page of", words.join(" ")));
                return Err(failure.help("`remotectl help` lists the commands; a directory is written ./DIRECTORY"));
            };
            screen.block(&String::from_utf8_lossy(roff));
            Ok(Exit::Done)
        }
    }
}

/// Whether that is meant as a directory: it has a slash in it, or is one that no command is called like.
fn is_directory(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().contains(&b'/')
        || path.is_dir() && help::command(None).find_subcommand(path.as_os_str()).is_none()
}

fn write(screen: &mut Screen, directory: &Path, pages: &[Page]) -> Result<Exit, Failure> {
    let failed = |error: files::FileError| {
        Failure::of("writing the manual pages", &error).help("name a directory that this user may write")
    };
    files::create_directory(directory, 0o755).map_err(failed)?;
    for Page(name, roff) in pages {
        files::write_atomic(&directory.join(name), roff, 0o644).map_err(failed)?;
    }
    screen.note(format!("{} pages are in {}.", pages.len(), directory.display()));
    screen.help(&format!("`man -l {}`", directory.join("remotectl.1").display()));
    Ok(Exit::Done)
}

/// Every page, the program's own first.
fn pages() -> io::Result<Vec<Page>> {
    let mut command = help::command(Some(WIDTH));
    command.build();
    let mut pages = Vec::new();
    add(&command, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    pages.push(page(command)?);
    command.get_subcommands().filter(|inner| !inner.is_hide_set()).try_for_each(|inner| add(inner, pages))
}

fn page(command: &Command) -> io::Result<Page> {
    // No date: the same sources make the same pages.
    let man = Man::new(command.clone()).source(format!("remotectl {}", this().version)).manual("remotectl");
    let mut roff = Vec::new();
    man.render_title(&mut roff)?;
    man.render_name_section(&mut roff)?;
    man.render_synopsis_section(&mut roff)?;
    man.render_description_section(&mut roff)?;
    if command.get_arguments().any(|argument| !argument.is_hide_set()) {
        man.render_options_section(&mut roff)?;
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut roff)?;
    }
    let extra = command.get_after_long_help().or_else(|| command.get_after_help());
    verbatim(&extra.map(ToString::to_string).unwrap_or_default()).to_writer(&mut roff)?;
    if command.get_name() != "remotectl" {
        let mut also = Roff::new();
        also.control("SH", ["SEE ALSO"]);
        also.text([roman("remotectl(1)")]);
        also.to_writer(&mut roff)?;
    }
    Ok(Page(man.get_filename(), roff))
}

/// What follows the help: headings with lines below them that are shown as they are.
fn verbatim(text: &str) -> Roff {
    let mut roff = Roff::new();
    let mut open = false;
    for line in text.lines() {
        let heading = line.strip_suffix(':').filter(|name| !name.is_empty() && !name.starts_with(' '));
        match heading {
            Some(name) => {
                if open {
                    roff.control("fi", []);
                }
                roff.control("SH", [name.to_uppercase().as_str()]);
                roff.control("nf", []);
                open = true;
            }
            None if line.is_empty() => {}
            None => {
                roff.text([roman(line)]);
            }
        }
    }
    if open {
        roff.control("fi", []);
    }
    roff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let names: Vec<String> = pages().unwrap().into_iter().map(|Page(name, _)| name).collect();
        assert_eq!(names[0], "remotectl.1");
        for name in ["remotectl-ask.1", "remotectl-hub.1", "remotectl-hub-join-token.1", "remotectl-hub-operator-add.1"]
        {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
    }

    #[test]
    fn examples_keep_their_lines() {
        let mut roff = Vec::new();
        verbatim("Examples:\n  remotectl man\n  .remotectl 'x'\n\nMore:\n  a").to_writer(&mut roff).unwrap();
        let roff = String::from_utf8(roff).unwrap();
        assert!(roff.contains(".SH EXAMPLES\n.nf\n  remotectl man\n"), "{roff}");
        assert!(roff.contains(".fi\n.SH MORE\n.nf\n  a\n.fi\n"), "{roff}");
    }
}
