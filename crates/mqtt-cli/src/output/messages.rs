//! Prints warnings, errors and notes for the user on standard error.

use std::sync::{Mutex, PoisonError};

use colored::Colorize;
use mqtt_client::session::PrintableLines;

use crate::output::logger;
use crate::output::standard_streams::is_colorful;

/// Prints a warning. The program continues.
pub(crate) fn warn(message: &str) {
    say("Warning:", colored::Color::Yellow, message);
}

/// Prints a note, such as a successful reconnect. A note is neither a warning nor an error and has no first word.
pub(crate) fn note(message: &str) {
    logger::print_error(&format!("{}\n", PrintableLines(message)));
}

/// Prints a warning of a library about a server or a file. A client that reconnects gets the same warning again; it is
/// not printed twice in a row.
pub(crate) fn warn_once(line: &str) {
    // Only the last line is stored, so that the memory stays bounded. A change back to an earlier warning is printed.
    static LAST: Mutex<String> = Mutex::new(String::new());
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if *last != line {
        line.clone_into(&mut last);
        // Lines of the libraries start with a small letter and have no full stop.
        let mut letters = line.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let line: String = first.into_iter().chain(letters).collect();
        warn(&format!("{line}."));
    }
}

/// Prints an error. This function does not end the program.
pub(crate) fn complain(message: &str) {
    say("Error:", colored::Color::Red, message);
}

/// Prints a line whose first word is coloured, if standard error supports colours.
fn say(kind: &str, color: colored::Color, message: &str) {
    // The crate `colored` checks standard output, but these lines go to standard error.
    colored::control::set_override(is_colorful());
    // The message may quote a peer or a file, whose control characters must not reach a terminal.
    let message = PrintableLines(message);
    logger::print_error(&format!("{} {message}\n", kind.color(color).bold()));
}
