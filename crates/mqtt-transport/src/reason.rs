//! Text of errors of the operating system.

use std::io;

/// Returns the text of an error of the operating system without its error number, which adds nothing for a user.
pub fn reason(error: &io::Error) -> String {
    without_number(&error.to_string())
}

/// Removes the number from a text of the operating system. Windows ends its texts with a full stop, which is removed
/// too, because the caller's sentence goes on or has its own.
fn without_number(text: &str) -> String {
    match text.split_once(" (os error") {
        Some((words, _)) => words.trim_end_matches('.').to_owned(),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_of_an_io_error_has_no_number() {
        let missing = std::fs::File::open("/no/such/file").unwrap_err();
        assert!(!reason(&missing).contains("os error"), "{missing}");
        assert_eq!(reason(&io::Error::other("because")), "because");
    }

    #[test]
    fn full_stop_of_a_system_text_is_removed() {
        let text = "The system cannot find the file specified. (os error 2)";
        let words = "The system cannot find the file specified";
        assert_eq!(without_number(text), words);
    }
}
