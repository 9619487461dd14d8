//! `cargo xtask figures [TREE]`: counts properties that make sources easy or hard to read, so that two states of the
//! tree can be compared by one method. The task counts the sources in `crates/*/src` without test modules. `TREE` is
//! another checkout, for example of an older commit. `cargo xtask figures --check` fails if modules name each other in a
//! circle; the other figures have no limits.

mod graph;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root;
use source::Source;
pub(crate) use source::{files, is_for_tests};

/// First words of a doc comment that leave its subject open (rules 1 and 2 of the writing guide).
const OPENERS: [&str; 7] = ["What", "Whether", "Who", "How", "One", "So", "It"];

/// Types with more methods than this are listed with their owners.
const MANY_METHODS: usize = 30;

/// Prints the figures of this tree, or of the tree that the option names.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let tree = match options {
        ["--check"] => return check_circles(root()),
        [] => root().to_path_buf(),
        [tree] => PathBuf::from(tree),
        _ => bail!("'figures' takes one folder at most"),
    };
    let crates = crates_of(&tree)?;
    println!(
        "| Crate | lines | functions | median | p95 | longest | comments | doc comments | vague openers | silent returns | debug_assert |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut all = Source::default();
    for (name, source) in &crates {
        print_row(name, source);
        all.add(source);
    }
    print_row("all", &all);
    print_types(&crates);
    print_circles(&tree, &crates)?;
    print_subjects(&tree)
}

fn crates_of(tree: &Path) -> Result<BTreeMap<String, Source>> {
    let folder = tree.join("crates");
    let entries = std::fs::read_dir(&folder)
        .with_context(|| format!("cannot read the folder '{}'", folder.display()))?;
    let mut crates = BTreeMap::new();
    for entry in entries {
        let path = entry?.path();
        let sources = path.join("src");
        if sources.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            crates.insert(name.into_owned(), Source::read(&sources)?);
        }
    }
    Ok(crates)
}

fn print_row(name: &str, source: &Source) {
    let mut lengths = source.functions.clone();
    lengths.sort_unstable();
    let at = |part: usize| lengths.get(lengths.len() * part / 100).copied();
    println!(
        "| {name} | {} | {} | {} | {} | {} | {:.1} % | {} | {:.1} % | {} | {} |",
        source.lines,
        lengths.len(),
        at(50).unwrap_or_default(),
        at(95).unwrap_or_default(),
        lengths.last().copied().unwrap_or_default(),
        percent(source.comment_lines, source.lines),
        source.doc_openers.len(),
        percent(source.vague_openers(&OPENERS), source.doc_openers.len()),
        source.silent_returns,
        source.debug_asserts,
    );
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

/// Prints the types that are spread over many files or have many methods.
fn print_types(crates: &BTreeMap<String, Source>) {
    println!("\n| Type | fields | methods | files with `impl` |\n| --- | ---: | ---: | ---: |");
    for (name, source) in crates {
        for (type_name, of_type) in &source.types {
            if of_type.files.len() > 4 || of_type.methods > MANY_METHODS {
                println!(
                    "| {name} `{type_name}` | {} | {} | {} |",
                    of_type.fields,
                    of_type.methods,
                    of_type.files.len()
                );
            }
        }
    }
}

fn print_circles(tree: &Path, crates: &BTreeMap<String, Source>) -> Result<()> {
    println!("\nCircles in the graph of modules (a module is a file; 'root' is lib.rs):\n");
    for circle in circles(tree, crates)? {
        println!("- {circle}");
    }
    Ok(())
}

fn check_circles(tree: &Path) -> Result<()> {
    let circles = circles(tree, &crates_of(tree)?)?;
    if let Some(first) = circles.first() {
        let count = circles.len();
        bail!("modules name each other in {count} circles, the first of them in {first}");
    }
    println!("no circles of modules");
    Ok(())
}

/// Returns a text for each circle of modules.
fn circles(tree: &Path, crates: &BTreeMap<String, Source>) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for name in crates.keys() {
        for circle in graph::circles(&tree.join("crates").join(name).join("src"))? {
            let modules = circle.join(", ");
            texts.push(format!("{name}: {} modules: {modules}", circle.len()));
        }
    }
    Ok(texts)
}

/// Prints the number of commits with long subjects. The limit is 60 characters.
fn print_subjects(tree: &Path) -> Result<()> {
    let output = Command::new("git")
        .args(["log", "--no-merges", "--format=%s"])
        .current_dir(tree)
        .output()
        .context("cannot run git log")?;
    let subjects = String::from_utf8_lossy(&output.stdout);
    let longer = |limit| {
        subjects
            .lines()
            .filter(move |line| line.chars().count() > limit)
    };
    println!(
        "\nCommits: {}; subjects of more than 60 characters: {}, of more than 72: {}.",
        subjects.lines().count(),
        longer(60).count(),
        longer(72).count(),
    );
    let latest: Vec<_> = subjects.lines().take(100).collect();
    let long = latest.iter().filter(|line| line.chars().count() > 60);
    println!(
        "Of the latest {}: {} of more than 60.",
        latest.len(),
        long.count()
    );
    Ok(())
}
