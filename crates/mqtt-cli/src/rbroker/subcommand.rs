//! What `rbroker passwd` and `rbroker status` have in common: their words.

use std::ffi::OsString;

use clap::{ArgMatches, Command};

use crate::exit::Failure;
use crate::standard;

/// Takes the words behind the name apart; `None` if the help was asked for, and shown.
pub(super) fn matches(
    command: Command,
    arguments: &[OsString],
) -> Result<Option<ArgMatches>, Failure> {
    let name = command.get_name().to_owned();
    let words = std::iter::once(OsString::from(&name)).chain(arguments.iter().cloned());
    match command.try_get_matches_from(words) {
        Ok(matches) => Ok(Some(matches)),
        Err(error) if !error.use_stderr() => {
            let _ = standard::print(&error.render().to_string());
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
