//! The definition of one option: its names, its value, its help and its effect on the settings. Parsing, help, manual
//! pages and completions use this definition, so each option is written once.
//!
//! A program has a table of definitions in groups ([`OptionGroup`]). Each definition becomes an `Arg` of `clap`, which
//! finds the options in the command line. This crate applies their effects itself, because the order of the options
//! matters (see `parser.rs`).

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction};

use crate::failure::Failure;
use crate::flags::hints;

/// The heading of a group in the help, and the options below it.
pub(crate) type OptionGroup<S> = (&'static str, Vec<CommandOption<S>>);

/// The definition of one option for a program with the settings `S`.
pub(crate) struct CommandOption<S> {
    /// The short name with its dash, or an empty text.
    pub(super) short: &'static str,
    /// The long name with its dashes, or an empty text.
    pub(super) long: &'static str,
    /// The name of the value in error messages, which is mosquitto's. Empty for an option without value.
    pub(super) noun: &'static str,
    /// The name of the value in the help, if `noun` does not explain the value.
    pub(super) value_name: Option<&'static str>,
    /// Set for an option that `--help` prints. `--help-all` prints all options.
    pub(super) is_common: bool,
    /// Set for an option that a profile may have.
    pub(super) is_in_profiles: bool,
    /// The description in the help.
    pub(super) help: &'static str,
    pub(super) apply: Apply<S>,
}

/// The number of words that follow an option, and the effect of the option on the settings.
pub(super) enum Apply<S> {
    /// No word.
    Flag(fn(&mut S)),
    /// A word, the value.
    Value(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// A value after `=` in the same word. Without `=` the value is empty.
    Optional(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// A value of several words, separated by blanks. In a profile the value may be an array of words.
    Words(fn(&mut S, &[OsString]) -> Result<(), Failure>),
    /// All words that follow.
    Rest(fn(&mut S, &[OsString]) -> Result<(), Failure>),
    /// Three words: `-D COMMAND NAME VALUE`.
    Property(fn(&mut S, &[OsString]) -> Result<(), Failure>),
    /// No word, and no effect on the settings: clap ends the parsing, and the program prints the help or the version.
    ByClap(ArgAction),
}

/// Defines an option without value. The names include their dashes; a name that does not exist is empty.
pub(crate) fn flag<S>(
    short: &'static str,
    long: &'static str,
    help: &'static str,
    apply: fn(&mut S),
) -> CommandOption<S> {
    CommandOption::new([short, long], "", help, Apply::Flag(apply))
}

/// Defines an option with one value.
pub(crate) fn value<S>(
    short: &'static str,
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &OsStr) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption::new([short, long], noun, help, Apply::Value(apply))
}

/// Defines `-D`, the option that sets a property of a packet.
pub(crate) fn property<S>(
    help: &'static str,
    apply: fn(&mut S, &[OsString]) -> Result<(), Failure>,
) -> CommandOption<S> {
    let names = ["-D", "--property"];
    CommandOption::new(names, "command name value", help, Apply::Property(apply))
}

/// Defines an option whose value may follow after `=`. Without `=`, `apply` gets an empty value.
pub(crate) fn optional<S>(
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &OsStr) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption::new(["", long], noun, help, Apply::Optional(apply))
}

/// Defines an option whose value is split into words at its blanks.
pub(crate) fn words<S>(
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &[OsString]) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption::new(["", long], noun, help, Apply::Words(apply))
}

/// Defines an option whose value consists of all words that follow it.
pub(crate) fn rest<S>(
    long: &'static str,
    noun: &'static str,
    help: &'static str,
    apply: fn(&mut S, &[OsString]) -> Result<(), Failure>,
) -> CommandOption<S> {
    CommandOption::new(["", long], noun, help, Apply::Rest(apply))
}

/// The character between the words of [`Apply::Rest`], which clap gets as one value. No argument contains it.
pub(super) const WORD_SEPARATOR: u8 = 0;

/// Returns `--help`, `--help-all` and `--version`, for programs where `-h` is a host.
pub(crate) fn help_options<S>() -> Vec<CommandOption<S>> {
    help_options_named("")
}

/// Returns the same options for a program in which `-h` prints the help.
pub(crate) fn help_options_with_short_name<S>() -> Vec<CommandOption<S>> {
    help_options_named("-h")
}

fn help_options_named<S>(short: &'static str) -> Vec<CommandOption<S>> {
    let option =
        |names, help, action| CommandOption::new(names, "", help, Apply::ByClap(action)).common();
    let all = "Print all options and the exit statuses";
    vec![
        option(
            [short, "--help"],
            "Print the common options",
            ArgAction::Help,
        ),
        option(["", HELP_ALL], all, ArgAction::Help),
        option(["", "--version"], "Print the version", ArgAction::Version),
    ]
}

/// The option that prints the full help.
pub(super) const HELP_ALL: &str = "--help-all";

impl<S> CommandOption<S> {
    fn new(
        [short, long]: [&'static str; 2],
        noun: &'static str,
        help: &'static str,
        apply: Apply<S>,
    ) -> Self {
        Self {
            short,
            long,
            noun,
            value_name: None,
            is_common: false,
            is_in_profiles: false,
            help,
            apply,
        }
    }

    /// Makes `--help` print the option.
    pub(crate) fn common(self) -> Self {
        Self {
            is_common: true,
            ..self
        }
    }

    /// Lets profiles have the option.
    pub(crate) fn in_profiles(self) -> Self {
        Self {
            is_in_profiles: true,
            ..self
        }
    }

    /// Sets the name of the value in the help, for a value that mosquitto's noun does not explain.
    pub(crate) fn with_value_name(self, name: &'static str) -> Self {
        Self {
            value_name: Some(name),
            ..self
        }
    }

    /// Returns the identifier of the option in clap.
    pub(super) fn id(&self) -> &'static str {
        if self.long.is_empty() {
            self.short
        } else {
            self.long
        }
    }

    /// Returns `true` if `word` is one of the two names.
    pub(super) fn is_named(&self, word: &OsStr) -> bool {
        let is_name = |name: &str| !name.is_empty() && word == name;
        is_name(self.short) || is_name(self.long)
    }

    /// Returns the name that mosquitto's messages use: the short name if the option has one.
    pub(super) fn name(&self) -> &'static str {
        if self.short.is_empty() {
            self.long
        } else {
            self.short
        }
    }

    /// Returns the option as an `Arg` of clap, below the heading of its group.
    pub(super) fn arg(&self, heading: &'static str) -> Arg {
        let mut arg = Arg::new(self.id())
            .help(self.help)
            .help_heading(heading)
            .hide_short_help(!self.is_common);
        // The tables have names with dashes, as users type them. clap expects names without dashes.
        if let Some(short) = self.short.chars().nth(1) {
            arg = arg.short(short);
        }
        if let Some(long) = self.long.strip_prefix("--") {
            arg = arg.long(long);
        }
        match &self.apply {
            // A flag is `Append` with an empty value, because clap records the position of each value but not of each
            // flag.
            Apply::Flag(_) => arg
                .action(ArgAction::Append)
                .num_args(0)
                .default_missing_value("")
                .value_parser(clap::value_parser!(OsString)),
            Apply::Value(_) | Apply::Words(_) | Apply::Rest(_) => self.with_value(arg),
            Apply::Optional(_) => self
                .with_value(arg)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(""),
            Apply::Property(_) => self
                .with_value(arg)
                .value_names(["COMMAND", "NAME", "VALUE"]),
            Apply::ByClap(action) => arg.action(action.clone()),
        }
    }

    /// Adds a value to the option. The value is not text: payloads and paths may contain any bytes. Like in the
    /// mosquitto tools, the value may start with a dash.
    fn with_value(&self, arg: Arg) -> Arg {
        let noun = || self.noun.to_uppercase().replace(' ', "_");
        arg.action(ArgAction::Append)
            .allow_hyphen_values(true)
            .value_parser(clap::value_parser!(OsString))
            .value_name(self.value_name.map_or_else(noun, Into::into))
    }

    /// Applies the option to the settings. `words` are the values after the option.
    pub(super) fn apply(&self, settings: &mut S, words: &[OsString]) -> Result<(), Failure> {
        match (&self.apply, words) {
            (Apply::Flag(apply), _) => {
                apply(settings);
                Ok(())
            }
            (Apply::Value(apply) | Apply::Optional(apply), [value, ..]) => {
                // The path is checked before the option is applied, so that the error names the '~' and not a missing
                // file.
                hints::check_path(self.name(), self.noun, value)?;
                apply(settings, value)
            }
            (Apply::Optional(apply), []) => apply(settings, OsStr::new("")),
            (Apply::Property(apply), words) => apply(settings, words),
            (Apply::Words(apply), [words, ..]) => {
                let words = separated(words, |byte| byte.is_ascii_whitespace());
                let words: Vec<_> = words.into_iter().filter(|word| !word.is_empty()).collect();
                apply(settings, &words)
            }
            (Apply::Rest(apply), [words, ..]) => {
                apply(settings, &separated(words, |byte| byte == WORD_SEPARATOR))
            }
            // clap has reported a missing value, and has ended the parsing for its own options.
            (Apply::Value(_) | Apply::Words(_) | Apply::Rest(_), []) | (Apply::ByClap(_), _) => {
                debug_assert!(false, "{} is not applied", self.id());
                Ok(())
            }
        }
    }
}

/// Returns the words between separators.
fn separated(words: &OsStr, is_separator: fn(u8) -> bool) -> Vec<OsString> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let words = words.as_bytes().split(|byte| is_separator(*byte));
        words
            .map(|word| OsStr::from_bytes(word).to_owned())
            .collect()
    }
    #[cfg(not(unix))]
    {
        let words = words.to_string_lossy();
        words
            .split(|c: char| u8::try_from(c).is_ok_and(is_separator))
            .map(OsString::from)
            .collect()
    }
}
