//! The options that print diagnostics about the connection, and the options file.

use crate::flags::definition::{CommandOption, flag, optional, value};
use crate::flags::settings::connection::ClientSettings;
use crate::output::trace::Form;

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
