//! `cargo xtask reference`: checks the list in tests/reference/rows.tsv. Each row describes a behaviour of the
//! mosquitto tools and must name a test, or a heading of `docs/differences.md`. All tests and headings that it names
//! must exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::root;

/// A row of the list: a behaviour of the mosquitto tools, and the tests that compare it.
struct Row<'a> {
    section: &'a str,
    title: &'a str,
    tests: Vec<&'a str>,
    differences: Vec<&'a str>,
}

/// Checks the list and prints the counts. `--source FILE` also compares the number of rows with the tables of the
/// description of the mosquitto tools.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let list = read("tests/reference/rows.tsv")?;
    let rows = parse(&list)?;
    let tests = tests()?;
    let differences = read("docs/differences.md")?;
    let headings: BTreeSet<_> = differences
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let place = format!("{} {}", row.section, row.title);
        let missing = row.tests.iter().filter(|name| !tests.contains(**name));
        wrong.extend(missing.map(|name| format!("{place}: no test {name}")));
        let missing = row
            .differences
            .iter()
            .filter(|name| !headings.contains(*name));
        wrong.extend(missing.map(|name| format!("{place}: no heading {name}")));
        if row.tests.is_empty() && row.differences.is_empty() {
            wrong.push(format!("{place}: neither test nor difference"));
        }
    }
    if let ["--source", file] = options {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        wrong.extend(compare(&rows, &text));
    }
    print_counts(&rows);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n"))
}

fn parse(list: &str) -> Result<Vec<Row<'_>>> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let fields: Vec<_> = line.split('\t').collect();
            let [section, _, title, covered] = fields[..] else {
                bail!("not four fields: {line}");
            };
            let names = || covered.split("; ").filter(|name| !name.is_empty());
            Ok(Row {
                section,
                title,
                tests: names().filter(|name| !name.starts_with('=')).collect(),
                differences: names().filter_map(|name| name.strip_prefix('=')).collect(),
            })
        })
        .collect()
}

/// Returns the names of all tests in the workspace.
fn tests() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for folder in ["crates", "tests"] {
        collect(&root().join(folder), &mut names)?;
    }
    Ok(names)
}

/// Adds the names of the tests in a folder. The sources are searched line by line: `#[test]` and then `fn NAME(`.
fn collect(folder: &Path, names: &mut BTreeSet<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, names)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line == "#[test]";
                if let Some(rest) = line.strip_prefix("fn ") {
                    let name = rest.split('(').next().unwrap_or_default();
                    if is_test {
                        names.insert(name.to_owned());
                    }
                    is_test = false;
                }
            }
        }
    }
    Ok(())
}

/// Compares the number of rows in each section with the tables in `source`. Returns a line for each difference.
fn compare(rows: &[Row<'_>], source: &str) -> Vec<String> {
    let mut expected = BTreeMap::<&str, usize>::new();
    let mut section = "";
    let mut in_table = false;
    for line in source.lines() {
        if let Some(heading) = line.strip_prefix('#') {
            let number = heading.trim_start_matches('#').split_whitespace().next();
            section = number.unwrap_or_default().trim_end_matches('.');
        }
        if !line.starts_with('|') {
            in_table = false;
        } else if !in_table {
            in_table = true; // this line is the head of the table
        } else if !line.trim_matches(['|', '-', ' ']).is_empty() {
            *expected.entry(section).or_default() += 1;
        }
    }
    let first = |section: &str| {
        section
            .split('.')
            .next()
            .and_then(|number| number.parse().ok())
    };
    expected
        .retain(|section, _| first(section).is_some_and(|number: u8| (1..=7).contains(&number)));
    let mut there = BTreeMap::<&str, usize>::new();
    for row in rows {
        *there.entry(row.section).or_default() += 1;
    }
    let sections: BTreeSet<_> = expected.keys().chain(there.keys()).collect();
    let differs = sections
        .into_iter()
        .filter(|section| expected.get(**section) != there.get(**section));
    differs
        .map(|section| {
            let count = |counts: &BTreeMap<&str, usize>| counts.get(section).copied().unwrap_or(0);
            format!(
                "section {section}: {} rows in the source, {} here",
                count(&expected),
                count(&there)
            )
        })
        .collect()
}

fn print_counts(rows: &[Row<'_>]) {
    let tested = rows.iter().filter(|row| !row.tests.is_empty()).count();
    let differing = rows
        .iter()
        .filter(|row| !row.differences.is_empty())
        .count();
    let neither = |row: &&Row<'_>| row.tests.is_empty() && row.differences.is_empty();
    let only = |row: &&Row<'_>| row.tests.is_empty() && !row.differences.is_empty();
    println!(
        "{} rows: {tested} with a test, {differing} with a line in docs/differences.md ({} with that alone), {} with neither",
        rows.len(),
        rows.iter().filter(only).count(),
        rows.iter().filter(neither).count(),
    );
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| format!("cannot read {path}"))
}
