//! The names of tests in the documents. A renamed or moved test must not leave a name behind that no reader can find.

use std::fs;
use std::path::Path;

use super::comments::sources;

/// The functions of a source file.
pub(crate) struct Source {
    /// The path below the workspace.
    path: String,
    functions: Vec<String>,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let starts = text.split("fn ").skip(1);
        let functions = starts
            .map(|rest| rest.chars().take_while(|&c| is_of_name(c)).collect())
            .collect();
        Self {
            path: path.to_owned(),
            functions,
        }
    }

    /// Returns `true` if a function begins with the whole words of `start`.
    fn has(&self, start: &str) -> bool {
        self.functions.iter().any(|name| {
            name.strip_prefix(start)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    }
}

/// Returns the source files of the workspace that have tests.
pub(crate) fn all_sources(root: &Path) -> Vec<Source> {
    let folders = ["crates", "tests", "xtask/src"];
    let files = folders
        .iter()
        .flat_map(|folder| sources(&root.join(folder)));
    files
        .map(|file| {
            let text = fs::read_to_string(&file).expect("sources can be read");
            let path = file.strip_prefix(root).unwrap_or(&file);
            Source::new(&path.display().to_string(), &text)
        })
        .collect()
}

/// Returns the codes in a page that should name tests or their files: those of table columns with the heading
/// `Shown by`, and elsewhere the names of three words and more.
pub(crate) fn cells(page: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut is_shown_by = false;
    for (number, line) in (1..).zip(page.lines()) {
        if !line.starts_with('|') {
            let codes = codes(line).into_iter().filter(|code| is_long_name(code));
            found.push((number, codes.collect()));
            is_shown_by = false;
            continue;
        }
        let last = line.trim_end_matches(['|', ' ']).rsplit(" | ").next();
        let last = last.unwrap_or_default();
        if last == "Shown by" {
            is_shown_by = true;
        } else if is_shown_by {
            found.push((number, codes(last)));
        }
    }
    found.retain(|(_, codes): &(_, Vec<_>)| !codes.is_empty());
    found
}

/// Checks the codes of one cell, from left to right. A file or a crate is the place of the names after it. Returns the
/// number of names, and the codes that name nothing.
pub(crate) fn check<'a>(codes: &[&'a str], sources: &[Source]) -> (usize, Vec<&'a str>) {
    let mut names = 0;
    let mut wrong = Vec::new();
    let mut place: Vec<&Source> = sources.iter().collect();
    let within = |is_meant: &dyn Fn(&str) -> bool| -> Vec<&Source> {
        let meant = sources.iter().filter(|source| is_meant(&source.path));
        meant.collect()
    };
    for code in codes {
        if code.ends_with(".rs") {
            place = within(&|path| path.ends_with(&format!("/{code}")));
            if place.is_empty() {
                wrong.push(*code);
            }
        } else if code.starts_with("mqtt-") {
            place = within(&|path| path.starts_with(&format!("crates/{code}/")));
        } else if let Some((module, name)) = code.split_once("::") {
            names += 1;
            let file = format!("/{module}.rs");
            let has_it = |source: &Source| source.path.ends_with(&file) && source.has(name);
            if !sources.iter().any(has_it) {
                wrong.push(*code);
            }
        } else if code.contains('_') && code.chars().all(is_of_name) {
            names += 1;
            if !place.iter().any(|source| source.has(code)) {
                wrong.push(*code);
            }
        }
    }
    (names, wrong)
}

/// Returns the texts between backticks.
fn codes(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn is_long_name(code: &str) -> bool {
    code.chars().all(is_of_name) && code.matches('_').count() >= 2
}

fn is_of_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

#[test]
fn finds_names_of_missing_tests_and_files() {
    let page = "`a_test_of_text`, `Type`\n\n| Fault | Shown by |\n| --- | --- |\n\
                | `not_here` | `a.rs` `first_test`, `mqtt-b` `second`, `c.rs`; `a::first` |\n";
    let cells = cells(page);
    let row = vec!["a.rs", "first_test", "mqtt-b", "second", "c.rs", "a::first"];
    assert_eq!(cells, [(1, vec!["a_test_of_text"]), (5, row)]);
    let sources = [
        Source::new("crates/mqtt-a/tests/a.rs", "fn first_test_of_a() {}"),
        Source::new(
            "crates/mqtt-b/src/lib.rs",
            "    fn second() {}\nfn first_testimony() {}",
        ),
    ];
    assert_eq!(check(&cells[0].1, &sources), (1, vec!["a_test_of_text"]));
    assert_eq!(check(&cells[1].1, &sources), (2, vec!["c.rs"]));
    let wrong = ["a.rs", "first_tes", "second_one", "a::third"];
    assert_eq!(
        check(&wrong, &sources),
        (3, vec!["first_tes", "second_one", "a::third"])
    );
}
