//! The parsing that `rbroker passwd` and `rbroker status` share. Their options may come in any order and have no
//! options file, so clap parses them without the table of `flags/`, and errors have clap's words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::flags::help::{Extent, Help};
use crate::output::standard_streams;

/// The heading of the options in the help.
pub(super) const OPTIONS: &str = "Options";

/// Returns the option that prints the help. These subcommands have few options, so there is no shorter help.
pub(super) fn help_option() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
        .help_heading(OPTIONS)
        .help("Print help")
}

/// Parses the words after the name of the subcommand. Returns `None` if the help was printed.
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
            // A pager may close the pipe before the end of the help, so the error is ignored.
            let _ = standard_streams::print(&help.text(&command, Extent::All));
            Ok(None)
        }
        Err(error) if may_quote_password(&error, &command, arguments) => {
            let text = "A word follows the password: quote a password with blanks, and write '--' in front of one that \
                        starts with '-'.";
            Err(Failure::failed(text).with_hint(format!("Use '{name} --help' to see usage.")))
        }
        Err(error) => {
            let text = error.render().to_string();
            // clap prints its error as a paragraph, followed by the usage. The error line has the words of the
            // paragraph only.
            let words: Vec<_> = text
                .lines()
                .map_while(|line| match line.trim() {
                    "" => None,
                    words => Some(words),
                })
                .collect();
            let mut words = words.join(" ");
            if let Some(name) = suggestion(&error, &command) {
                words.push_str(&format!(". Did you mean '{name}'?"));
            }
            let failure = Failure::failed(words.trim_start_matches("error: "));
            Err(failure.with_hint(format!("Use '{name} --help' to see usage.")))
        }
    }
}

/// Returns `true` if the error is about a word that may be a part of a password. Such a word must not be printed.
fn may_quote_password(error: &clap::Error, command: &Command, arguments: &[OsString]) -> bool {
    let has_password = |arg: &Arg| arg.get_id() == "password";
    let is_given = arguments.iter().any(|word| word == "-b");
    is_given
        && error.kind() == ErrorKind::UnknownArgument
        && command.get_arguments().any(has_password)
}

/// Returns the option that the user may have meant, if the error is about an unknown option.
fn suggestion(error: &clap::Error, command: &Command) -> Option<String> {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(word))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return None;
    };
    let long_names = command.get_arguments().filter_map(Arg::get_long);
    let name = mqtt_broker::closest_name(word, long_names)?;
    word.starts_with('-').then(|| format!("--{name}"))
}
