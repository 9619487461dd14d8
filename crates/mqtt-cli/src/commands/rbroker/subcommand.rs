//! The parsing that `rbroker passwd` and `rbroker status` share. They have no settings whose order matters, so clap does
//! everything here, and errors have its words.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::failure::Failure;
use crate::flags::help::{Extent, Help};
use crate::output::standard_streams;

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
            // A pager that has closed the pipe has seen enough, so the error is ignored.
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
            // clap prints its error as a paragraph, followed by the usage. Only the paragraph is kept, on one line.
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

/// Returns `true` if the error is about a word that may be a part of a password.
fn may_quote_password(error: &clap::Error, command: &Command, arguments: &[OsString]) -> bool {
    let has_password = |arg: &Arg| arg.get_id() == "password";
    let is_given = arguments.iter().any(|word| word == "-b");
    is_given
        && error.kind() == ErrorKind::UnknownArgument
        && command.get_arguments().any(has_password)
}

/// Returns the option that may have been meant, if the error is about an unknown one.
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
