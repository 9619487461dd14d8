//! Text of errors of the operating system.

use std::io;

/// Returns the text of an error of the operating system without its error number, which adds nothing for a user.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_has_no_number() {
        let missing = std::fs::File::open("/no/such/file").unwrap_err();
        assert!(!reason(&missing).contains("os error"), "{missing}");
        assert_eq!(reason(&io::Error::other("because")), "because");
    }
}
