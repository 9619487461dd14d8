//! Lines on standard error for the person who runs a program: warnings, errors and notes.

use std::sync::{Mutex, PoisonError};

use colored::Colorize;
use mqtt_client::session::PrintableLines;

use crate::output::logger;
use crate::output::standard_streams::is_colorful;

/// Prints a warning: the program goes on.
pub(crate) fn warn(message: &str) {
    say("Warning:", colored::Color::Yellow, message);
}

/// Prints that something has changed for the better, which is neither a warning nor an error.
pub(crate) fn note(message: &str) {
    logger::print_error(&format!("{}\n", PrintableLines(message)));
}

/// Prints a warning about a server or a file, which starts with a small letter. A client that reconnects finds the same
/// again, which is not printed twice in a row.
pub(crate) fn warn_once(line: &str) {
    // One line is remembered, and not all: the memory stays bounded, and a change back is worth a line.
    static LAST: Mutex<String> = Mutex::new(String::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != line {
        line.clone_into(&mut last);
        // The lines of the libraries start with a small letter and have no full stop.
        let mut letters = line.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let line: String = first.into_iter().chain(letters).collect();
        warn(&format!("{line}."));
    }
}

/// Prints an error that does not end the program.
pub(crate) fn complain(message: &str) {
    say("Error:", colored::Color::Red, message);
}

/// Prints a line with a coloured first word, if standard error takes colours.
fn say(kind: &str, color: colored::Color, message: &str) {
    // colored looks at standard output, and these lines go to standard error.
    colored::control::set_override(is_colorful());
    let message = PrintableLines(message); // it may quote the peer or a file, whose control characters must not reach a terminal
    logger::print_error(&format!("{} {message}\n", kind.color(color).bold()));
}
