//! The first words of doc comments. A comment that begins with one of `VAGUE` has no subject, so the reader must guess
//! which thing it describes.

use std::fs;
use std::path::{Path, PathBuf};

/// Words that no doc comment of a public item begins with.
const VAGUE: &[&str] = &["What", "Whether", "Who", "How", "One", "So", "It"];

/// Returns the places of public items in this folder whose doc comments begin with a vague word. Items that begin with
/// `pub` are public; variants of enums and methods of traits are not looked at.
pub(crate) fn vague_comments(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for file in sources(folder) {
        let text = fs::read_to_string(&file).expect("sources can be read");
        let lines = vague_lines(&text).into_iter();
        found.extend(lines.map(|(number, line)| format!("{}:{number}: {line}", file.display())));
    }
    found
}

fn vague_lines(source: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut first = None;
    for (number, line) in (1..).zip(source.lines()) {
        let line = line.trim();
        if line.starts_with("///") {
            first.get_or_insert((number, line));
        } else if !line.starts_with("#[") {
            let comment = first.take().filter(|_| line.starts_with("pub "));
            found.extend(comment.filter(|(_, comment)| is_vague(comment)));
        }
    }
    found
}

fn is_vague(comment: &str) -> bool {
    let mut words = comment.trim_start_matches('/').split_whitespace();
    words.next().is_some_and(|word| VAGUE.contains(&word))
}

/// Returns the source files in a folder and its folders.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("folders can be read");
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

#[test]
fn finds_vague_comments_of_public_items_only() {
    let source = "/// Whether it is there.\n#[must_use]\npub fn a() {}\n/// What is there.\nfn b() {}\n\
                  /// Returns what is there.\n/// One more line.\npub fn c() {}\n";
    assert_eq!(vague_lines(source), [(1, "/// Whether it is there.")]);
}
