//! Lines on standard error for the person who runs a program: warnings, errors and notes.

use std::sync::{Mutex, PoisonError};

use colored::Colorize;
use mqtt_client::session::PrintableLines;

use crate::output::logger;
use crate::output::standard_streams::is_colorful;

/// Something that is worth knowing and no failure.
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
    static LAST: Mutex<String> = Mutex::new(String::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != line {
        line.clone_into(&mut last);
        let mut letters = line.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let line: String = first.into_iter().chain(letters).collect();
        warn(&format!("{line}."));
    }
}

/// Something that went wrong and does not end the program.
pub(crate) fn complain(message: &str) {
    say("Error:", colored::Color::Red, message);
}

/// A line on standard error, coloured on a terminal.
fn say(kind: &str, color: colored::Color, message: &str) {
    colored::control::set_override(is_colorful());
    let message = PrintableLines(message); // it may quote the peer or a file
    logger::print_error(&format!("{} {message}\n", kind.color(color).bold()));
}
