//! Compares the documents with the programs. Each `console` block of the README and of `docs/` is run, and its output
//! is compared. Each relative link must lead to an existing file and heading.
//!
//! `docs/README.md` states the convention for authors: the marks of a block, the ports that are replaced and the parts
//! that are masked. `page.rs` reads the blocks, `session.rs` and `terminal.rs` run them in shells, and `masks.rs` masks
//! the parts that vary. `links.rs` checks the links, `comments.rs` the first words of doc comments, and `shown_by.rs`
//! the names of tests. The lists of directives and options are checked beside their tables, in the unit tests of
//! `mqtt-broker` and `mqtt-cli`.

// The blocks are commands for bash.
#![cfg(unix)]

mod comments;
mod links;
mod masks;
mod page;
mod session;
mod shown_by;
mod terminal;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use page::{Block, blocks};
use session::Session;

/// Returns the folder of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Returns every Markdown file that users and developers read, by its path below the workspace.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md"]
        .map(PathBuf::from)
        .into();
    for folder in ["docs", "docs/generated"] {
        let entries = fs::read_dir(root().join(folder));
        let entries = entries.into_iter().flatten().flatten();
        let names = entries.map(|entry| Path::new(folder).join(entry.file_name()));
        found.extend(names.filter(|path| path.extension().is_some_and(|ending| ending == "md")));
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

/// Runs the blocks of one page from top to bottom in one temporary folder.
fn run(page: &Path) -> Result<usize, String> {
    let mut session = Session::new();
    let mut commands = 0;
    for block in blocks(&read(page))? {
        let ran = session.run(&block);
        commands += ran.map_err(|error| format!("{}: {error}", page.display()))?;
    }
    Ok(commands)
}

#[test]
fn command_blocks_print_what_the_documents_show() {
    let only = std::env::var("RPUBSUB_PAGE").ok();
    let is_meant = |page: &PathBuf| {
        only.as_ref()
            .is_none_or(|only| page.ends_with(Path::new(only)))
    };
    let pages: Vec<_> = documents().into_iter().filter(is_meant).collect();
    let runs: Vec<_> = pages
        .into_iter()
        .map(|page| thread::spawn(move || (run(&page), page)))
        .collect();
    let results: Vec<_> = runs.into_iter().map(|run| run.join().unwrap()).collect();

    let mut failures = Vec::new();
    let mut total = (0, 0, 0);
    for (result, page) in results {
        let blocks = blocks(&read(&page)).unwrap_or_default();
        let shown = blocks.iter().filter(|block| block.is_console()).count();
        let others = blocks.iter().filter(|block| block.is_not_run()).count();
        match result {
            Ok(commands) => {
                println!(
                    "{}: {shown} blocks with {commands} commands, {others} not run",
                    page.display()
                );
                total = (total.0 + shown, total.1 + commands, total.2 + others);
            }
            Err(failure) => failures.push(failure),
        }
    }
    println!(
        "{} command blocks with {} commands were run, {} blocks are marked as not run",
        total.0, total.1, total.2
    );
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    assert!(total.0 > 0 || only.is_some(), "no command block was found");
}

#[test]
fn each_shell_block_that_is_not_run_has_a_reason_and_valid_syntax() {
    for page in documents() {
        for block in blocks(&read(&page)).unwrap() {
            let Block::NotRun { text, reason, line } = block else {
                continue;
            };
            let place = format!("{}:{line}", page.display());
            assert!(!reason.is_empty(), "{place}: ```sh needs a reason");
            let check = tests::Program::new("bash").arg("-n").input(text).run();
            assert_eq!(check.status, 0, "{place}: {}", check.errors);
        }
    }
}

#[test]
fn relative_links_point_to_files_and_headings() {
    let mut count = 0;
    let mut broken = Vec::new();
    for page in documents() {
        for link in links::links(&read(&page)) {
            count += 1;
            if let Err(error) = links::check(&root(), &page, &link) {
                broken.push(error);
            }
        }
    }
    println!("{count} relative links were checked");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Pages for developers name files in code, with their paths from the top level.
#[test]
fn files_that_the_pages_for_developers_name_exist() {
    let mut count = 0;
    let mut missing = Vec::new();
    for page in ["docs/architecture.md", "CONTRIBUTING.md"] {
        let text = read(Path::new(page));
        for path in links::paths(&text) {
            count += 1;
            if !root().join(&path).exists() {
                missing.push(format!("{page}: {path}"));
            }
        }
    }
    println!("{count} paths were checked");
    assert!(missing.is_empty(), "no such file:\n{}", missing.join("\n"));
    assert!(count > 50, "{count}");
}

#[test]
fn tests_that_the_documents_name_exist() {
    let sources = shown_by::all_sources(&root());
    let mut count = 0;
    let mut missing = Vec::new();
    for page in [
        "docs/faults.md",
        "docs/simulation.md",
        "docs/conformance.md",
        "docs/generated/conformance.md",
    ] {
        for (line, codes) in shown_by::cells(&read(Path::new(page))) {
            let (names, wrong) = shown_by::check(&codes, &sources);
            count += names;
            missing.extend(wrong.iter().map(|code| format!("{page}:{line}: {code}")));
        }
    }
    println!("{count} names of tests were checked");
    assert!(missing.is_empty(), "no such test:\n{}", missing.join("\n"));
    assert!(count > 100, "{count}");
}

#[test]
fn each_page_of_the_documents_is_in_the_index() {
    let index = read(Path::new("docs/README.md"));
    for page in documents() {
        let Ok(name) = page.strip_prefix("docs") else {
            continue;
        };
        let link = format!("({})", name.display());
        // The generated tables may be absent.
        let is_exempt = name == Path::new("README.md") || name.starts_with("generated");
        let is_listed = is_exempt || index.contains(&link);
        assert!(is_listed, "docs/README.md does not link {name:?}");
    }
}

#[test]
fn doc_comments_of_public_items_name_their_subject() {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "xtask/src"] {
        found.extend(comments::vague_comments(&root().join(folder)));
    }
    assert!(
        found.is_empty(),
        "begin with a verb or a noun:\n{}",
        found.join("\n")
    );
}
