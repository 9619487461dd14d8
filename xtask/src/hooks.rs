//! Tests of the hooks in `.githooks`, which developers may enable in their checkout. The tasks do not use this module.

use std::path::Path;
use std::process::Command;

use crate::root;

/// Runs the hook for a commit message. Returns the output of the hook if the hook rejects the message.
fn rejection_of(message: &str) -> Option<String> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("COMMIT_EDITMSG");
    std::fs::write(&file, message).expect("a file can be written");
    let hook = root().join(Path::new(".githooks/commit-msg"));
    let output = Command::new(hook).arg(&file).output();
    let output = output.expect("the hook can be run");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

#[test]
fn a_subject_of_more_than_60_characters_is_rejected() {
    assert_eq!(rejection_of(&"a".repeat(60)), None);
    let said = rejection_of(&"a".repeat(61)).expect("rejected");
    assert!(
        said.contains("has 61 characters; the limit is 60"),
        "{said}"
    );
}

#[test]
fn characters_are_counted_and_not_bytes() {
    assert_eq!(rejection_of(&"ä".repeat(60)), None);
}

#[test]
fn a_full_stop_and_a_body_without_empty_line_are_rejected() {
    assert!(rejection_of("cli: print the reason.").is_some());
    assert!(rejection_of("cli: print the reason\nIt was lost.").is_some());
    assert_eq!(rejection_of("cli: print the reason\n\nIt was lost."), None);
}

#[test]
fn subjects_that_git_writes_are_accepted() {
    assert_eq!(
        rejection_of(&format!("Revert \"{}\"", "a".repeat(60))),
        None
    );
}
