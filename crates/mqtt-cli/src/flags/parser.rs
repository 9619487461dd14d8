//! Parses the words of a command line into the settings of a program.
//!
//! clap finds the options and their values in the words. Like in the mosquitto tools, the options are then applied in
//! the order in which they were typed, after those of the options file and of the other sources (`profiles/`). The
//! order matters: `-x` and `-D` select MQTT 5.0 unless a later `-V` selects another version, and a later `-h` replaces
//! the host of `-L`.

use std::ffi::{OsStr, OsString};

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};

use crate::failure::Failure;
use crate::flags::definition::{Apply, CommandOption, HELP_ALL};
use crate::flags::help::Extent;
use crate::flags::hints;
use crate::flags::options_file::{self, Line};
use crate::flags::parse_errors::is_help_or_version;
use crate::flags::profiles::Source;
use crate::flags::program::Program;
use crate::output::standard_streams;
use crate::program_name::{called_name, is_called_as_mosquitto};

/// The result of parsing a command line.
pub(crate) enum Parsed<S> {
    /// Run the program with these settings.
    Run(S),
    /// End the program, because the help or the version was printed.
    HelpShown,
}

impl<S: Default> Program<S> {
    /// Applies the options file, the environment variables or the profile, and the arguments to default settings. The
    /// first argument is the name of the program.
    ///
    /// # Errors
    /// If the command line or another source has a mistake, or a file cannot be read.
    pub(crate) fn parse(&self, arguments: &[OsString]) -> Result<Parsed<S>, Failure> {
        // The tables of clap are never freed, because the process ends soon. Freeing them costs as many instructions as
        // parsing, which is a large part of the start-up of a program that sends one message.
        let mut command = std::mem::ManuallyDrop::new(self.command());
        let words = arguments.get(1..).unwrap_or_default();
        let selected = self.split_profile(words)?;
        let words = selected.as_ref().map_or(words, |(_, others)| others);
        let words = self.with_pairs_joined(words)?;
        let matches = match command.try_get_matches_from_mut(words) {
            Ok(matches) => matches,
            Err(error) if is_help_or_version(&error) => {
                // A pager may close the pipe before the end of the help, so the error is ignored.
                let _ = standard_streams::print(&self.help_text(&error, &command, arguments));
                return Ok(Parsed::HelpShown);
            }
            Err(error) => return Err(self.failure(&error)),
        };
        let mut settings = S::default();
        if let Some(effects) = &self.sources {
            // `-o` is one of the arguments, but the file is applied before all arguments.
            let file = single(&matches, "-o")?;
            let lines = options_file::read(&called_name(arguments), self.name, file)?;
            self.apply_lines(&mut settings, &mut command, &lines)?;
            match &selected {
                Some((profile, _)) => self.apply_profile(effects, &mut settings, profile)?,
                None if is_called_as_mosquitto(arguments) => {}
                None => self.apply_environment(effects, &mut settings, &matches)?,
            }
            (effects.begin)(&mut settings, Source::CommandLine);
        }
        self.apply(&mut settings, &matches)?;
        Ok(Parsed::Run(settings))
    }

    /// Returns the text that is printed for one of the options that clap handles.
    fn help_text(&self, error: &clap::Error, command: &Command, arguments: &[OsString]) -> String {
        if error.kind() == ErrorKind::DisplayVersion {
            return error.render().to_string();
        }
        // clap reports the same error for --help and --help-all, so the words are searched for --help-all.
        let extent = if arguments.iter().any(|word| word == HELP_ALL) {
            Extent::All
        } else {
            Extent::Common
        };
        self.help.text(command, extent)
    }

    /// Applies the lines of the options file. Each line is parsed as a separate command line, so that an error can name
    /// the line.
    fn apply_lines(
        &self,
        settings: &mut S,
        command: &mut Command,
        lines: &[Line],
    ) -> Result<(), Failure> {
        for line in lines {
            let place = |failure: Failure| failure.at(line.place.clone());
            self.check_line(&line.words).map_err(place)?;
            // The parser of clap is built once and used for all lines, because building it costs more than parsing.
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
            return Ok(()); // a flag, or a property, whose words `options_file` has split
        };
        let is_option = |word: &str| self.all().any(|option| option.is_named(OsStr::new(word)));
        let option = self.all().find(|option| option.is_named(word));
        let noun = option.map_or("", |option| option.noun);
        hints::check_line(&word.to_string_lossy(), noun, value, is_option)
    }

    /// Applies the options from left to right. clap groups the values by option, so they are sorted by the index of
    /// each value.
    fn apply(&self, settings: &mut S, matches: &ArgMatches) -> Result<(), Failure> {
        let mut given: Vec<(usize, &CommandOption<S>, Vec<OsString>)> = Vec::new();
        for option in self.all() {
            let id = option.id();
            match &option.apply {
                // If one of these options was given, clap has ended the parsing.
                Apply::ByClap(_) => {}
                Apply::Flag(_)
                | Apply::Value(_)
                | Apply::Words(_)
                | Apply::Optional(_)
                | Apply::Rest(_)
                | Apply::Property(_) => {
                    let mut indices = matches.indices_of(id).into_iter().flatten();
                    for words in matches.get_raw_occurrences(id).into_iter().flatten() {
                        let words: Vec<_> = words.map(OsStr::to_owned).collect();
                        let index = indices.next().unwrap_or(0);
                        // Each word of a property has its own index. The first index is the position of the property.
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

    /// Returns the words for clap. The name and the value of each user property are joined by a NUL, which no argument
    /// can contain. So `-D` always has three words, as clap requires, although `user-property` has one word more than
    /// other properties. All words of [`Apply::Rest`] are joined in the same way.
    ///
    /// The value of another option may be `-D` or `--`, so this function steps over values like clap does. For clap,
    /// `--` ends the options; for the mosquitto tools it is an unknown option.
    fn with_pairs_joined(&self, words: &[OsString]) -> Result<Vec<OsString>, Failure> {
        let mut joined = Vec::with_capacity(words.len());
        let mut rest = words;
        while let [word, others @ ..] = rest {
            rest = others;
            if word == "--" {
                return Err(Failure::usage("Unknown option '--'."));
            }
            joined.push(word.clone());
            // A value in the same word, as in --host=a or -ha, hides no further word and needs no step.
            let option = self.all().find(|option| option.is_named(word));
            match (option.map(|option| &option.apply), rest) {
                (Some(Apply::Rest(_)), [first, others @ ..]) => {
                    let mut all = first.clone();
                    for word in others {
                        all.push("\0");
                        all.push(word);
                    }
                    joined.push(all);
                    break;
                }
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
                (Some(Apply::Value(_) | Apply::Words(_)), [value, others @ ..]) => {
                    if let (Some(option), [next, ..]) = (option, others) {
                        hints::check_secret(option.name(), option.noun, next)?;
                    }
                    joined.push(value.clone());
                    rest = others;
                }
                _ => {}
            }
        }
        Ok(joined)
    }
}

/// Returns the value of an option that must not be given twice.
fn single<'a>(matches: &'a ArgMatches, id: &str) -> Result<Option<&'a OsStr>, Failure> {
    let mut values = matches.get_raw(id).into_iter().flatten();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Failure::usage(format!("Duplicate {id} argument given."))),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::definition::{flag, property, value};
    use crate::flags::help::Help;
    use crate::flags::profiles::SourceEffects;

    /// Settings that record the applied options.
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
            sources: Some(SourceEffects {
                begin: |_, _| {},
                apply_broker_url: |_, _| Ok(()),
            }),
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
    fn accepts_equals_signs_and_combined_short_options() {
        assert_eq!(
            applied(&["--host=a", "-hb", "-lh", "c"]).unwrap(),
            ["-h a", "-h b", "-l", "-h c"]
        );
    }

    #[test]
    fn property_takes_three_arguments_and_user_property_four() {
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
    fn usage_errors_have_the_text_of_mosquitto() {
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
