//! The definition of one option: its names, its value, its help and its effect on the settings. Parsing, help, manual
//! pages and completions all come from it, so that an option is written once.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction};

use crate::failure::Failure;
use crate::flags::hints;

/// The options that stand below one heading of the help.
pub(crate) type OptionGroup<S> = (&'static str, Vec<CommandOption<S>>);

/// One option of a program.
pub(crate) struct CommandOption<S> {
    /// With its dash; empty if there is none.
    pub(super) short: &'static str,
    pub(super) long: &'static str,
    /// What the value is called in messages; empty for an option without value.
    pub(super) noun: &'static str,
    /// The name of the value in the help; by default the noun.
    pub(super) value_name: Option<&'static str>,
    /// Set for an option that `--help` prints. The others are printed by `--help-all` only.
    pub(super) is_common: bool,
    pub(super) help: &'static str,
    pub(super) apply: Apply<S>,
}

pub(super) enum Apply<S> {
    Flag(fn(&mut S)),
    Value(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// Behind `=`, or not there: then the value is empty.
    Optional(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// Three words: `-D COMMAND NAME VALUE`.
    Property(fn(&mut S, &[OsString]) -> Result<(), Failure>),
    /// clap does what has to be done.
    ByClap(ArgAction),
}

/// An option without value. Names are given with their dashes, or empty.
pub(crate) fn flag<S>(
    short: &'static str,
    long: &'static str,
    help: &'static str,
    apply: fn(&mut S),
) -> CommandOption<S> {
    CommandOption {
        short,
        long,
        noun: "",
        value_name: None,
        is_common: false,
        help,
        apply: Apply::Flag(apply),
    }
}

/// An option with one value.
pub(crate) fn value<S>(
    short: &'static str,
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &OsStr) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption {
        short,
        long,
        noun,
        value_name: None,
        is_common: false,
        help,
        apply: Apply::Value(apply),
    }
}

/// `-D`.
pub(crate) fn property<S>(
    help: &'static str,
    apply: fn(&mut S, &[OsString]) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption {
        short: "-D",
        long: "--property",
        noun: "command name value",
        value_name: None,
        is_common: false,
        help,
        apply: Apply::Property(apply),
    }
}

/// An option whose value is behind `=` or not there; then it is empty.
pub(crate) fn optional<S>(
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &OsStr) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption {
        short: "",
        long,
        noun,
        value_name: None,
        is_common: false,
        help,
        apply: Apply::Optional(apply),
    }
}

/// Returns `--help`, `--help-all` and `--version`, for programs where `-h` is a host.
pub(crate) fn help_options<S>() -> Vec<CommandOption<S>> {
    help_options_named("")
}

/// Returns the same options for a program where `-h` prints the help.
pub(crate) fn help_options_with_short_name<S>() -> Vec<CommandOption<S>> {
    help_options_named("-h")
}

fn help_options_named<S>(short: &'static str) -> Vec<CommandOption<S>> {
    let option = |short, long, help, action| CommandOption {
        short,
        long,
        noun: "",
        value_name: None,
        is_common: true,
        help,
        apply: Apply::ByClap(action),
    };
    let all = "Print all options and the exit statuses";
    vec![
        option(short, "--help", "Print the common options", ArgAction::Help),
        option("", HELP_ALL, all, ArgAction::Help),
        option("", "--version", "Print the version", ArgAction::Version),
    ]
}

/// The option that prints everything.
pub(super) const HELP_ALL: &str = "--help-all";

impl<S> CommandOption<S> {
    /// Lets `--help` print the option too.
    pub(crate) fn common(self) -> Self {
        Self {
            is_common: true,
            ..self
        }
    }

    /// Names the value in the help, where the noun of mosquitto's messages would not explain it.
    pub(crate) fn with_value_name(self, name: &'static str) -> Self {
        Self {
            value_name: Some(name),
            ..self
        }
    }

    pub(super) fn id(&self) -> &'static str {
        if self.long.is_empty() {
            self.short
        } else {
            self.long
        }
    }

    /// Whether this word is the option.
    pub(super) fn is_named(&self, word: &OsStr) -> bool {
        let is_name = |name: &str| !name.is_empty() && word == name;
        is_name(self.short) || is_name(self.long)
    }

    /// The name that mosquitto's messages use.
    pub(super) fn name(&self) -> &'static str {
        if self.short.is_empty() {
            self.long
        } else {
            self.short
        }
    }

    pub(super) fn arg(&self, heading: &'static str) -> Arg {
        let mut arg = Arg::new(self.id())
            .help(self.help)
            .help_heading(heading)
            .hide_short_help(!self.is_common);
        if let Some(short) = self.short.chars().nth(1) {
            arg = arg.short(short);
        }
        if let Some(long) = self.long.strip_prefix("--") {
            arg = arg.long(long);
        }
        let with_value = |arg: Arg| {
            let noun = || self.noun.to_uppercase().replace(' ', "_");
            arg.action(ArgAction::Append)
                .allow_hyphen_values(true)
                .value_parser(clap::value_parser!(OsString))
                .value_name(self.value_name.map_or_else(noun, Into::into))
        };
        match &self.apply {
            // Each one is remembered, with its place.
            Apply::Flag(_) => arg
                .action(ArgAction::Append)
                .num_args(0)
                .default_missing_value("")
                .value_parser(clap::value_parser!(OsString)),
            Apply::Value(_) => with_value(arg),
            Apply::Optional(_) => with_value(arg)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(""),
            Apply::Property(_) => with_value(arg).value_names(["COMMAND", "NAME", "VALUE"]),
            Apply::ByClap(action) => arg.action(action.clone()),
        }
    }

    pub(super) fn apply(&self, settings: &mut S, words: &[OsString]) -> Result<(), Failure> {
        match (&self.apply, words) {
            (Apply::Flag(apply), _) => {
                apply(settings);
                Ok(())
            }
            (Apply::Value(apply) | Apply::Optional(apply), [value, ..]) => {
                hints::check_path(self.name(), self.noun, value)?;
                apply(settings, value)
            }
            (Apply::Optional(apply), []) => apply(settings, OsStr::new("")),
            (Apply::Property(apply), words) => apply(settings, words),
            (Apply::Value(_), []) | (Apply::ByClap(_), _) => Ok(()),
        }
    }
}
