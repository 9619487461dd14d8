//! The options that explain what happens on the connection.

use crate::flags::definition::{CommandOption, flag, optional, value};
use crate::flags::settings::connection::ClientSettings;
use crate::output::trace::Form;

/// Returns the options about the output that explains the connection.
pub(crate) fn debug_options<S: ClientSettings>() -> Vec<CommandOption<S>> {
    vec![
        flag(
            "-d",
            "--debug",
            "Print a line for each packet",
            |s: &mut S| s.connection().debug = true,
        )
        .common(),
        // The value must follow after '=': otherwise the next option would be taken for the form.
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

/// Returns `-o`. It has no effect here: `parser.rs` reads the file before any option is applied.
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
