//! Formats counts, values and errors of the system for messages to the user.

use std::ffi::OsStr;
use std::path::Path;

use mqtt_client::session::Printable;

/// Returns a number with its noun, in the plural except for 1.
pub(crate) fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

/// Removes ` (os error N)` from a text. The standard library appends it after the words for the same error. On Windows
/// these words end in a full stop, which is removed too.
pub(crate) fn without_error_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut rest = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                rest.truncate(rest.trim_end_matches('.').len());
                rest += after;
            }
            _ => rest = rest + " (os error " + part,
        }
    }
    rest
}

/// Returns the system's words for an error, without its number.
pub(crate) fn system_text(error: &std::io::Error) -> String {
    mqtt_transport::reason(error)
}

/// Returns a path in quotes, so that a hint with it can be copied to a shell.
pub(crate) fn quoted(path: &Path) -> String {
    // A shell has no escape between single quotes. So the path is cut at each quote, and the quote is escaped in
    // between.
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

/// Returns a value of the command line for an error message, with control characters escaped.
pub(crate) fn shown(value: &OsStr) -> String {
    Printable(&value.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_path_as_one_word() {
        for (path, expected) in [
            ("/var/lib/my broker", "'/var/lib/my broker'"),
            ("/srv/it's", r"'/srv/it'\''s'"),
        ] {
            assert_eq!(quoted(Path::new(path)), expected);
        }
    }

    #[test]
    fn os_error_numbers_are_removed() {
        for (text, expected) in [
            (
                "cannot open 'a': No such file (os error 2)",
                "cannot open 'a': No such file",
            ),
            ("a (os error 2): b (os error 13).", "a: b."),
            (
                "cannot open 'a': None. (os error 2).",
                "cannot open 'a': None.",
            ),
            ("a (os error x) b", "a (os error x) b"),
            ("a (os error 2", "a (os error 2"),
        ] {
            assert_eq!(without_error_numbers(text), expected);
        }
    }
}
