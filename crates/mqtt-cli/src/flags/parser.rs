//! From words to settings: the options of a program are a table, and each option says what it does to
//! the settings. clap takes the words apart; the options are applied in the order
//! in which they were typed, those of the options file first, as the mosquitto tools do it.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use mqtt_client::session::Printable;

use crate::failure::Failure;
use crate::flags::help::{Extent, Help};
use crate::flags::hints;
use crate::flags::options_file::{self, Line};
use crate::output::standard_streams;
use crate::program_name::called_name;

/// A program, as far as its command line goes.
pub(crate) struct Program<S> {
    pub(crate) name: &'static str,
    pub(crate) help: Help,
    /// What is done to the settings after its options file, if it reads one.
    pub(crate) after_options_file: Option<fn(&mut S)>,
    /// Under their headings.
    pub(crate) options: Vec<(&'static str, Vec<CommandOption<S>>)>,
}

/// One option of a program.
pub(crate) struct CommandOption<S> {
    /// With its dash; empty if there is none.
    short: &'static str,
    long: &'static str,
    /// What the value is called in messages; empty for an option without value.
    noun: &'static str,
    /// The name of the value in the help; by default the noun.
    value_name: Option<&'static str>,
    /// Set for an option that `--help` prints. The others are printed by `--help-all` only.
    is_common: bool,
    help: &'static str,
    apply: Apply<S>,
}

enum Apply<S> {
    Flag(fn(&mut S)),
    Value(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// Behind `=`, or not there: then the value is empty.
    Optional(fn(&mut S, &OsStr) -> Result<(), Failure>),
    /// Three words: `-D COMMAND NAME VALUE`.
    Property(fn(&mut S, &[OsString]) -> Result<(), Failure>),
    /// clap does what has to be done.
    ByClap(ArgAction),
}

/// What a command line asks for.
pub(crate) enum Parsed<S> {
    Run(S),
    /// The help or the version was printed.
    HelpShown,
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
const HELP_ALL: &str = "--help-all";

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

    fn id(&self) -> &'static str {
        if self.long.is_empty() {
            self.short
        } else {
            self.long
        }
    }

    /// Whether this word is the option.
    fn is_named(&self, word: &OsStr) -> bool {
        let is_name = |name: &str| !name.is_empty() && word == name;
        is_name(self.short) || is_name(self.long)
    }

    /// The name that mosquitto's messages use.
    fn name(&self) -> &'static str {
        if self.short.is_empty() {
            self.long
        } else {
            self.short
        }
    }

    fn arg(&self, heading: &'static str) -> Arg {
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

    fn apply(&self, settings: &mut S, words: &[OsString]) -> Result<(), Failure> {
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

impl<S: Default> Program<S> {
    /// Reads the options file and the arguments, the program's own name first among them.
    pub(crate) fn parse(&self, arguments: &[OsString]) -> Result<Parsed<S>, Failure> {
        // Taking it apart at the end would cost as much as reading the arguments.
        let mut command = std::mem::ManuallyDrop::new(self.command());
        let words = self.with_pairs_joined(arguments.get(1..).unwrap_or_default())?;
        let matches = match command.try_get_matches_from_mut(words) {
            Ok(matches) => matches,
            Err(error) if is_help_or_version(&error) => {
                // A reader that has seen enough is no failure.
                let _ = standard_streams::print(&self.help_text(&error, &command, arguments));
                return Ok(Parsed::HelpShown);
            }
            Err(error) => return Err(self.failure(&error)),
        };
        let mut settings = S::default();
        if let Some(after_options_file) = self.after_options_file {
            let file = single(&matches, "-o")?;
            let lines = options_file::read(&called_name(arguments), self.name, file)?;
            self.apply_lines(&mut settings, &mut command, &lines)?;
            after_options_file(&mut settings);
        }
        self.apply(&mut settings, &matches)?;
        Ok(Parsed::Run(settings))
    }

    /// Returns the help or the version, as the error that clap reports for these options asks for.
    fn help_text(&self, error: &clap::Error, command: &Command, arguments: &[OsString]) -> String {
        if error.kind() == ErrorKind::DisplayVersion {
            return error.render().to_string();
        }
        // clap does not report which of the options it was.
        let extent = match arguments.iter().any(|word| word == HELP_ALL) {
            true => Extent::All,
            false => Extent::Common,
        };
        self.help.text(command, extent)
    }

    fn apply_lines(
        &self,
        settings: &mut S,
        command: &mut Command,
        lines: &[Line],
    ) -> Result<(), Failure> {
        for line in lines {
            let place = |failure: Failure| failure.at(line.place.clone());
            self.check_line(&line.words).map_err(place)?;
            let words = self.with_pairs_joined(&line.words).map_err(place)?;
            let matches = command.try_get_matches_from_mut(words);
            let matches = matches.map_err(|error| place(self.failure(&error)))?;
            self.apply(settings, &matches).map_err(place)?;
        }
        Ok(())
    }

    /// Checks that a line of the options file has one option.
    fn check_line(&self, words: &[OsString]) -> Result<(), Failure> {
        let [word, value] = words else {
            return Ok(()); // a property is split into words
        };
        let is_option = |word: &str| self.all().any(|option| option.is_named(OsStr::new(word)));
        let option = self.all().find(|option| option.is_named(word));
        let noun = option.map_or("", |option| option.noun);
        hints::check_line(&word.to_string_lossy(), noun, value, is_option)
    }

    pub(crate) fn command(&self) -> Command {
        let options = self
            .options
            .iter()
            .flat_map(|(heading, options)| options.iter().map(move |option| option.arg(heading)));
        Command::new(self.name)
            .version(env!("CARGO_PKG_VERSION"))
            .disable_help_flag(true)
            .disable_version_flag(true)
            .args_override_self(true)
            .no_binary_name(true)
            .args(options)
    }

    /// Applies what was given, from left to right.
    fn apply(&self, settings: &mut S, matches: &ArgMatches) -> Result<(), Failure> {
        let mut given: Vec<(usize, &CommandOption<S>, Vec<OsString>)> = Vec::new();
        for option in self.all() {
            let id = option.id();
            match &option.apply {
                Apply::ByClap(_) => {}
                Apply::Flag(_) | Apply::Value(_) | Apply::Optional(_) | Apply::Property(_) => {
                    let mut indices = matches.indices_of(id).into_iter().flatten();
                    for words in matches.get_raw_occurrences(id).into_iter().flatten() {
                        let words: Vec<_> = words.map(OsStr::to_owned).collect();
                        let index = indices.next().unwrap_or(0);
                        // Each word has an index of its own.
                        indices
                            .by_ref()
                            .take(words.len().saturating_sub(1))
                            .for_each(drop);
                        given.push((index, option, words));
                    }
                }
            }
        }
        given.sort_by_key(|(index, ..)| *index);
        let mut given = given.iter();
        given.try_for_each(|(_, option, words)| option.apply(settings, words))
    }

    fn all(&self) -> impl Iterator<Item = &CommandOption<S>> {
        self.options.iter().flat_map(|(_, options)| options)
    }

    /// A user property is a word longer than other properties. Name and value are joined with a NUL,
    /// which no argument can hold, so that `-D` always has three. Nothing ends the options: `--` is a
    /// word like any other, and no option.
    fn with_pairs_joined(&self, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
        let mut joined = Vec::with_capacity(words.len());
        let mut rest = words;
        while let [word, others @ ..] = rest {
            rest = others;
            if word == "--" {
                return Err(Failure::usage("Unknown option '--'."));
            }
            joined.push(word.clone());
            let option = self.all().find(|option| option.is_named(word));
            match (option.map(|option| &option.apply), rest) {
                (Some(Apply::Property(_)), [command, property, name, value, others @ ..])
                    if property.eq_ignore_ascii_case("user-property") =>
                {
                    let mut pair = name.clone();
                    pair.push("\0");
                    pair.push(value);
                    joined.extend([command.clone(), property.clone(), pair]);
                    rest = others;
                }
                (Some(Apply::Property(_)), [command, name, value, others @ ..]) => {
                    joined.extend([command, name, value].map(Clone::clone));
                    rest = others;
                }
                (Some(Apply::Value(_)), [value, others @ ..]) => {
                    joined.push(value.clone());
                    rest = others;
                }
                _ => {}
            }
        }
        Ok(joined)
    }

    /// Returns the error for a word that is no option, with the option or subcommand that may have been meant.
    fn unknown(&self, word: &str) -> Failure {
        let names = || self.all().flat_map(|option| [option.short, option.long]);
        if let Some(hint) = hints::other_dash(word, names()) {
            // A value may follow in the same word.
            let word = word.split_once('=').map_or(word, |(name, _)| name);
            return Failure::usage(format!("Unknown option '{word}'.")).with_hint(hint);
        }
        let failure = Failure::usage(format!("Unknown option '{word}'."));
        let is_option = word.starts_with('-');
        let names = names();
        // Another word without a dash is a value whose option was forgotten.
        let names = names.filter(|name| is_option || matches!(*name, "--help" | "--version"));
        let subcommands = self.help.subcommands.iter().filter(|_| !is_option);
        let known = names.chain(subcommands.map(|(name, _)| *name));
        let meant = mqtt_broker::closest_name(word, known);
        let meant = meant.map(|name| format!("Did you mean '{name}'?"));
        let stray = || hints::stray_word(self.name, word).map(str::to_owned);
        with_hint(failure, meant.or_else(stray))
    }

    /// The error in mosquitto's words.
    fn failure(&self, error: &clap::Error) -> Failure {
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
            }
            (_, Apply::Value(_)) => {
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

fn is_help_or_version(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
}

fn first_line(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    format!("{}.", first.trim_start_matches("error: "))
}

/// The value of an option that may be given once.
fn single<'a>(matches: &'a ArgMatches, id: &str) -> Result<Option<&'a OsStr>, Failure> {
    let mut values = matches.get_raw(id).into_iter().flatten();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Failure::usage(format!("Duplicate {id} argument given."))),
        None => Ok(first),
    }
}

/// The value of an option as text.
pub(crate) fn text<'a>(value: &'a OsStr, option: &str) -> Result<&'a str, Failure> {
    let malformed = || Failure::usage(format!("Malformed UTF-8 in {option} argument."));
    value.to_str().ok_or_else(malformed)
}

/// Returns the value of an option that goes to the broker as a text.
///
/// # Errors
/// If it has a control character, which brokers refuse or disconnect for. The usual cause is a script
/// with Windows line ends: each last word of a line ends with U+000D.
pub(crate) fn plain_text<'a>(value: &'a OsStr, option: &str) -> Result<&'a str, Failure> {
    let text = text(value, option)?;
    let Some(character) = mqtt_codec::disallowed_character(text) else {
        return Ok(text);
    };
    let code = u32::from(character);
    let hint = match character {
        '\r' => format!(
            "'{}' contains a carriage return (U+000D): does the script have Windows line ends?",
            Printable(text)
        ),
        _ => format!("'{}' contains U+{code:04X}.", Printable(text)),
    };
    Err(Failure::usage(format!("Malformed UTF-8 in {option} argument.")).with_hint(hint))
}

/// The value of an option as a number. Blanks around it are no part of it.
pub(crate) fn number<T: std::str::FromStr>(value: &OsStr) -> Option<T> {
    value.to_str()?.trim().parse().ok()
}

/// Seconds, whole or with a fraction, or a time with units: `30`, `1.5`, `30s`, `1m 30s`.
pub(crate) fn duration(value: &OsStr) -> Option<Duration> {
    let text = value.to_str()?.trim();
    let time = match text.parse::<f64>() {
        // Beyond what a duration can be, and not negative: as good as for ever.
        Ok(seconds) if seconds >= LONGEST.as_secs_f64() && seconds.is_finite() => Some(LONGEST),
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    time.map(|time| time.min(LONGEST))
}

/// Longer times are as good: a century, which clocks can still add to.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("1.5", 1_500),
            (" 30s", 30_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
        ] {
            let expected = Duration::from_millis(milliseconds);
            assert_eq!(duration(OsStr::new(text)), Some(expected), "{text}");
        }
        for text in ["1e19", "1e300", "999999999y"] {
            assert_eq!(duration(OsStr::new(text)), Some(LONGEST), "{text}");
        }
        for text in ["", "x", "-1", "nan", "inf", "5 parsecs"] {
            assert_eq!(duration(OsStr::new(text)), None, "{text}");
        }
    }

    /// Settings that remember what was applied.
    type Log = Vec<String>;

    fn program() -> Program<Log> {
        Program {
            name: "test",
            help: Help {
                about: "",
                usage: &[],
                subcommands: &[],
                examples: &[],
                notes: &[],
            },
            after_options_file: Some(|_| {}),
            options: vec![(
                "Options",
                vec![
                    flag("-l", "--lines", "", |log| log.push("-l".into())),
                    value("-h", "--host", "host", "", |log: &mut Log, value| {
                        log.push(format!("-h {}", value.to_string_lossy()));
                        Ok(())
                    }),
                    value("-o", "", "options file", "", |_, _| Ok(())),
                    property("", |log: &mut Log, words| {
                        log.push(format!("-D {words:?}"));
                        Ok(())
                    }),
                ],
            )],
        }
    }

    fn applied(words: &[&str]) -> Result<Log, String> {
        let empty = tempfile::NamedTempFile::new().unwrap();
        let mut arguments = vec!["test".into(), "-o".into(), empty.path().into()];
        arguments.extend(words.iter().map(OsString::from));
        match program().parse(&arguments) {
            Ok(Parsed::Run(log)) => Ok(log),
            Ok(Parsed::HelpShown) => Ok(vec!["told".into()]),
            Err(failure) => Err(failure.error.to_string()),
        }
    }

    #[test]
    fn options_are_applied_in_the_order_they_were_typed() {
        let log = applied(&["-h", "a", "-l", "--host", "b", "-h", "c"]).unwrap();
        assert_eq!(log, ["-h a", "-l", "-h b", "-h c"]);
    }

    #[test]
    fn a_value_may_look_like_an_option() {
        for value in ["-l", "--", "--host", "-", "--x=y", "-D"] {
            let log = applied(&["-h", value, "-l", "-h", "user-property", "-l"]).unwrap();
            assert_eq!(
                log,
                [&format!("-h {value}"), "-l", "-h user-property", "-l"]
            );
        }
        assert_eq!(applied(&["-l", "--"]).unwrap_err(), "Unknown option '--'.");
    }

    #[test]
    fn clap_adds_spellings_that_mosquitto_does_not_know() {
        assert_eq!(
            applied(&["--host=a", "-hb", "-lh", "c"]).unwrap(),
            ["-h a", "-h b", "-l", "-h c"]
        );
    }

    #[test]
    fn a_property_is_three_words_and_a_user_property_four() {
        let words = [
            "-D",
            "connect",
            "user-property",
            "-h",
            "-l",
            "-D",
            "publish",
            "x",
            "-D",
            "-l",
        ];
        assert_eq!(
            applied(&words).unwrap(),
            [
                "-D [\"connect\", \"user-property\", \"-h\\0-l\"]",
                "-D [\"publish\", \"x\", \"-D\"]",
                "-l",
            ]
        );
        let error = applied(&["-D", "connect", "x"]).unwrap_err();
        assert!(
            error.starts_with("--property argument given but not enough"),
            "{error}"
        );
    }

    #[test]
    fn errors_have_mosquittos_words() {
        for (words, expected) in [
            (&["--nonsense"][..], "Unknown option '--nonsense'."),
            (&["-z"], "Unknown option '-z'."),
            (&["word"], "Unknown option 'word'."),
        ] {
            assert_eq!(applied(words).unwrap_err(), expected);
        }
        let arguments = ["test", "--host"].map(OsString::from);
        let Err(failure) = program().parse(&arguments) else {
            panic!("a value is missing");
        };
        assert_eq!(
            failure.error.to_string(),
            "-h argument given but no host specified."
        );
    }
}
