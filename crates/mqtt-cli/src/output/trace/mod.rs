//! The trace of `--trace`: prints each packet with its fields on standard error. The form `ladder` draws an arrow
//! between client and server for each packet, called a rung. The form `json` prints a line of JSON for programs.
//! `packet_fields/` decodes the fields.

mod layout;
mod packet_fields;
mod rung;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::time::Instant;

use mqtt_client::session::Observer;

use crate::failure::Failure;
use crate::output::logger;
use crate::output::standard_streams::is_colorful;
use crate::output::trace::layout::terminal_columns;
use crate::output::trace::packet_fields::fields;
use crate::output::trace::rung::Rung;
use crate::wording::shown;

/// The form of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Ladder,
    Json,
}

impl Form {
    /// Parses the value of `--trace`. An empty value selects the ladder.
    ///
    /// # Errors
    /// If the form does not exist.
    pub(crate) fn parse(value: &OsStr) -> Result<Self, Failure> {
        match value.to_str() {
            Some("" | "ladder") => Ok(Self::Ladder),
            Some("json") => Ok(Self::Json),
            _ => Err(
                Failure::usage(format!("Invalid form given for --trace: {}", shown(value)))
                    .with_hint("The form must be ladder or json."),
            ),
        }
    }
}

/// Returns an observer that prints each packet. `program` is the name of this end in the ladder. `peer` is the name of
/// the other end, unless a client identifier names it.
pub(crate) fn observer(form: Form, program: &'static str, peer: String) -> Observer {
    let start = Instant::now();
    // Colours are determined once and not for each packet.
    let colorful = is_colorful();
    Observer::new(move |observed| {
        let rung = Rung {
            seconds: start.elapsed().as_secs_f64(),
            program,
            peer: &peer,
            observed,
            fields: fields(observed.packet, observed.version),
        };
        let line = match form {
            Form::Ladder => rung.ladder(colorful, terminal_columns()),
            Form::Json => rung.json(),
        };
        logger::print_error(&line);
    })
}
