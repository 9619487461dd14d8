//! From words to options: clap reads them, its errors come out as one line each in mosquitto's words.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches};

use crate::exit::Failure;

/// What a command line asks for.
pub(crate) enum Parsed<T> {
    Run(T),
    /// The help or the version was printed.
    Told,
}

/// Parses the arguments of a program, its own name first.
pub(crate) fn parse<T: CommandFactory + FromArgMatches>(
    program: &str,
    arguments: &[OsString],
) -> Result<Parsed<T>, Failure> {
    let command = T::command().args_override_self(true).no_binary_name(true);
    let matches = command.try_get_matches_from(arguments.get(1..).unwrap_or_default());
    match matches.and_then(|matches| T::from_arg_matches(&matches)) {
        Ok(parsed) => Ok(Parsed::Run(parsed)),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
            ) =>
        {
            // A reader that has seen enough is no failure.
            let _ = write!(std::io::stdout(), "{}", error.render());
            Ok(Parsed::Told)
        }
        Err(error) => Err(Failure::usage(format!(
            "{} See '{program} --help'.",
            line(&error)
        ))),
    }
}

/// The error in one line.
fn line(error: &clap::Error) -> String {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        Some(ContextValue::Strings(texts)) => texts.first().map_or("", String::as_str),
        _ => "",
    };
    let (option, value) = (
        context(ContextKind::InvalidArg),
        context(ContextKind::InvalidValue),
    );
    let name = option.split(' ').next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => format!("Unknown option '{name}'."),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{name} argument given but no {} specified.", noun(option))
        }
        ErrorKind::ValueValidation => {
            let source = std::error::Error::source(error).map(ToString::to_string);
            format!("{}: {value} (option {name}).", source.unwrap_or_default())
        }
        ErrorKind::InvalidUtf8 => "Malformed UTF-8 in an argument.".to_owned(),
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            format!("{}.", first.trim_start_matches("error: "))
        }
    }
}

/// What the value of an option is called: the word in angle brackets.
fn noun(option: &str) -> String {
    let word = option
        .split_once('<')
        .map_or("value", |(_, rest)| rest.trim_end_matches('>'));
    word.to_lowercase().replace('_', " ")
}

/// Seconds, whole or with a fraction, or a time with units: `30`, `1.5`, `30s`, `1m 30s`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("1.5", 1_500),
            ("30s", 30_000),
            ("1m 30s", 90_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(
                duration(text),
                Some(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "x", "-1", "nan", "1e300", "5 parsecs"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
