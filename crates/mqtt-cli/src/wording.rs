//! Counts, values and errors of the system as they are written in messages.

use std::ffi::OsStr;

use mqtt_client::session::Printable;

/// Returns a number with the noun for that many.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Returns an error of the system in its own words, without the number.
pub(crate) fn system_text(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

/// Returns a value of the command line without control characters, for an error message.
pub(crate) fn shown(value: &OsStr) -> String {
    Printable(&value.to_string_lossy()).to_string()
}
