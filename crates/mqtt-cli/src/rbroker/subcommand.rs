//! What `rbroker passwd` and `rbroker status` have in common: their words.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::exit::Failure;
use crate::help::{Extent, Help};
use crate::standard;

/// The heading of the options in the help.
pub(super) const OPTIONS: &str = "Options";

/// Returns the option that prints the help. All options are common here, so there is only one help.
pub(super) fn help_option() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help_heading(OPTIONS)
        .help("Print help")
}

/// Parses the words after the name. Returns `None` if the help was asked for, and printed.
pub(super) fn matches(
    mut command: Command,
    help: Help,
    arguments: &[OsString],
) -> Result<Option<ArgMatches>, Failure> {
    let name = command.get_name().to_owned();
    let words = std::iter::once(OsString::from(&name)).chain(arguments.iter().cloned());
    match command.try_get_matches_from_mut(words) {
        Ok(matches) => Ok(Some(matches)),
        Err(error) if !error.use_stderr() => {
            let _ = standard::print(&help.text(&command, Extent::All));
            Ok(None)
        }
        Err(error) => {
            let text = error.render().to_string();
            let words: Vec<_> = text
                .lines()
                .map_while(|line| match line.trim() {
                    "" => None,
                    words => Some(words),
                })
                .collect();
            let words = words.join(" ");
            let failure = Failure::failed(words.trim_start_matches("error: "));
            Err(failure.with_hint(format!("Use '{name} --help' to see usage.")))
        }
    }
}
