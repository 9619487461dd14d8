//! The errors of a command line. Scripts may match on the words of the mosquitto tools, so an error that those tools
//! also have gets their text. A hint after the text says what to write instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::failure::Failure;
use crate::flags::definition::Apply;
use crate::flags::hints;
use crate::flags::program::Program;

impl<S> Program<S> {
    /// Returns the error for a word that is not an option, with the option or subcommand that the user may have meant.
    pub(super) fn unknown(&self, word: &str) -> Failure {
        let names = || self.all().flat_map(|option| [option.short, option.long]);
        if let Some(hint) = hints::other_dash(word, names()) {
            // The word may contain a value, which may be a password. The error does not repeat the value.
            let word = hints::without_value(word);
            return Failure::usage(format!("Unknown option '{word}'.")).with_hint(hint);
        }
        let failure = Failure::usage(format!("Unknown option '{word}'."));
        let is_option = word.starts_with('-');
        let names = names();
        // A word without a dash is more likely a value after a forgotten option than a mistyped option. Users only type
        // `help` and `version` without dashes.
        let names = names.filter(|name| is_option || matches!(*name, "--help" | "--version"));
        let subcommands = self.help.subcommands.iter().filter(|_| !is_option);
        let known = names.chain(subcommands.map(|(name, _)| *name));
        let meant = mqtt_broker::closest_name(word, known);
        let meant = meant.map(|name| format!("Did you mean '{name}'?"));
        let stray = || hints::stray_word(self.name, word).map(str::to_owned);
        with_hint(failure, meant.or_else(stray))
    }

    /// Returns the failure for an error of clap.
    pub(super) fn failure(&self, error: &clap::Error) -> Failure {
        if is_help_or_version(error) {
            return Failure::usage("--help and --version have no effect in an options file.");
        }
        let argument = match error.get(ContextKind::InvalidArg) {
            Some(ContextValue::String(text)) => text.as_str(),
            Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
            _ => "",
        };
        let name = argument.split(' ').next().unwrap_or_default();
        let option = self.all().find(|option| option.id() == name);
        let unknown = || self.unknown(argument);
        let Some(option) = option else {
            return match error.kind() {
                ErrorKind::UnknownArgument => unknown(),
                _ => Failure::usage(first_line(&error.to_string())),
            };
        };
        let short = option.name();
        match (error.kind(), &option.apply) {
            (ErrorKind::TooManyValues | ErrorKind::UnknownArgument, _) => unknown(),
            (_, Apply::Property(_)) => {
                Failure::usage("--property argument given but not enough arguments specified.")
                    .with_hint("Write a property as '-D publish content-type text/plain'.")
            }
            (_, Apply::Value(_) | Apply::Words(_) | Apply::Rest(_)) => {
                // The messages of mosquitto use the short name, except for `--protocol-version`. The message of -M
                // lacks the "no".
                let (name, noun) = match (option.id(), short) {
                    ("--protocol-version", _) => ("--protocol-version", "version"),
                    _ => (short, option.noun),
                };
                if name == "-M" {
                    return Failure::usage("-M argument given but max_inflight not specified.");
                }
                let text = format!("{name} argument given but no {noun} specified.");
                with_hint(Failure::usage(text), hints::missing_value(name, noun))
            }
            _ => Failure::usage(first_line(&error.to_string())),
        }
    }
}

fn with_hint(failure: Failure, hint: Option<impl Into<String>>) -> Failure {
    match hint {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Returns `true` if clap has ended the parsing because of an option that prints the help or the version.
pub(super) fn is_help_or_version(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
}

/// Returns the first line of an error of clap, as a sentence.
fn first_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    format!("{}.", first.trim_start_matches("error: "))
}
