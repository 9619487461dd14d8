//! The options that print diagnostics about the connection, and the options file.

use crate::exit_status::use_sysexits;
use crate::failure::Failure;
use crate::flags::definition::{CommandOption, flag, optional, value};
use crate::flags::settings::connection::ClientSettings;
use crate::output::trace::Form;
use crate::wording::shown;

/// Returns the options that print diagnostics about the connection.
pub(crate) fn debug_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-d",
            "--debug",
            "Print a line for each packet",
            |s: &mut S| s.connection().debug = true,
        )
        .common(),
        // The value must follow after '='. Otherwise the next option would be parsed as the form.
        optional(
            "--trace",
            "form",
            "Print each packet with all its fields; --trace=json prints JSON",
            |s: &mut S, v| {
                s.connection().trace = Some(Form::parse(v)?);
                Ok(())
            },
        )
        .common(),
        flag(
            "",
            "--quiet",
            "Print no errors, except usage errors",
            |s: &mut S| s.connection().quiet = true,
        ),
        value(
            "",
            "--exit-status",
            "scheme",
            "Numbers of the exit status: mosquitto, or sysexits for those of sysexits.h, one for each class of failure [default: mosquitto]",
            |_, v| {
                use_sysexits(match v.to_str() {
                    Some("mosquitto") => false,
                    Some("sysexits") => true,
                    _ => {
                        let text = format!("Unknown value '{}' for --exit-status.", shown(v));
                        return Err(Failure::usage(text)
                            .with_hint("The value must be mosquitto or sysexits."));
                    }
                });
                Ok(())
            },
        ),
        value(
            "",
            "--report",
            "file",
            "Write the result to this file, or to standard output for '-', as one JSON object",
            |s: &mut S, v| {
                s.connection().report = Some(v.into());
                Ok(())
            },
        )
        .with_value_name("FILE"),
    ]
}

/// Returns `-o`. The definition has no effect, because `parser.rs` reads the file before it applies any option.
pub(crate) fn options_file_option<S>() -> Vec<CommandOption<S>> {
    vec![
        value(
            "-o",
            "",
            "options file",
            "Read options from this file instead of the default one",
            |_, _| Ok(()),
        )
        .with_value_name("FILE"),
    ]
}
