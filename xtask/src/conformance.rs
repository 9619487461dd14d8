//! `cargo xtask conformance`: runs the tests that name statements of the standard, and writes
//! docs/generated/conformance.md. With `--check` the file must be up to date. The task fails if a source names a
//! statement that does not exist, if a test names a statement and does not assert it when it runs, or if a statement
//! has neither a test nor a reason why it does not apply.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run as run_command, target};

const VERSIONS: [&str; 2] = ["3.1.1", "5.0"];

/// The version and the id of a statement.
type Key = (String, String);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Client,
    Server,
}

/// A statement of the standard, from the lists in `tests/conformance`.
struct Statement {
    key: Key,
    ends: Vec<End>,
    requirement: String,
}

pub(crate) fn run(options: &[&str]) -> Result<()> {
    let check = match options {
        [] => false,
        ["--check"] => true,
        _ => bail!("the only option is --check"),
    };
    let statements = read_statements()?;
    let not_applicable = read_not_applicable(&statements)?;
    check_citations(&statements)?;
    let shown = run_tests()?;
    check_named(&statements, &shown)?;
    let (text, untested) = report(&statements, &not_applicable, &shown)?;
    let path = root().join("docs/generated/conformance.md");
    if check {
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        if there != text {
            bail!("docs/generated/conformance.md is not up to date: run `cargo xtask conformance`");
        }
    } else {
        std::fs::write(&path, &text).context("cannot write docs/generated/conformance.md")?;
    }
    text.lines()
        .filter(|line| line.starts_with("| MQTT ") || line.starts_with("| Rules"))
        .for_each(|line| println!("{line}"));
    if !untested.is_empty() {
        bail!("untested: {}", untested.join(", "));
    }
    Ok(())
}

/// Reads a list in `tests/conformance`. Returns the fields of each row.
fn read(name: &str) -> Result<Vec<Vec<String>>> {
    let path = root().join("tests/conformance").join(name);
    let text = std::fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    let rows = text.lines().skip(1);
    Ok(rows
        .map(|row| row.split('\t').map(str::to_owned).collect())
        .collect())
}

fn ends(role: &str) -> Result<Vec<End>> {
    Ok(match role {
        "both" => vec![End::Client, End::Server],
        "client" => vec![End::Client],
        "server" => vec![End::Server],
        _ => bail!("{role} is no role"),
    })
}

fn read_statements() -> Result<Vec<Statement>> {
    let mut statements = Vec::new();
    for version in VERSIONS {
        for row in read(&format!("normative-{version}.tsv"))? {
            let [id, role, _, requirement, ..] = &row[..] else {
                bail!("{row:?} is not complete");
            };
            statements.push(Statement {
                key: (version.to_owned(), id.clone()),
                ends: ends(role)?,
                requirement: requirement.clone(),
            });
        }
    }
    for row in read("unnumbered.tsv")? {
        let [id, role, requirement] = &row[..] else {
            bail!("{row:?} is not complete");
        };
        let version = if id.starts_with("U3") { "3.1.1" } else { "5.0" };
        statements.push(Statement {
            key: (version.to_owned(), id.clone()),
            ends: ends(role)?,
            requirement: requirement.clone(),
        });
    }
    Ok(statements)
}

/// Returns the reasons why statements do not apply, by statement and end.
fn read_not_applicable(statements: &[Statement]) -> Result<BTreeMap<(Key, End), String>> {
    let mut reasons = BTreeMap::new();
    for row in read("not-applicable.tsv")? {
        let [version, id, role, reason] = &row[..] else {
            bail!("{row:?} is not complete");
        };
        let key = (version.clone(), id.clone());
        if !statements.iter().any(|statement| statement.key == key) {
            bail!("not-applicable.tsv: there is no {version}:{id}");
        }
        for end in ends(role)? {
            reasons.insert((key.clone(), end), reason.clone());
        }
    }
    Ok(reasons)
}

/// Checks that every statement that a source names exists.
fn check_citations(statements: &[Statement]) -> Result<()> {
    let known: BTreeSet<_> = statements
        .iter()
        .map(|statement| &statement.key.1[..])
        .collect();
    for folder in ["crates", "tests"] {
        for (path, text) in sources(&root().join(folder))? {
            for id in citations(&text) {
                if !known.contains(id) {
                    bail!("{path}: there is no {id}");
                }
            }
        }
    }
    Ok(())
}

/// Checks that each statement that a conformance test names was asserted when the test ran.
fn check_named(statements: &[Statement], shown: &Shown) -> Result<()> {
    for (path, text) in sources(&root().join("tests/tests/programs/conformance"))? {
        for version in VERSIONS {
            for rest in text.split(&format!("{version}:")).skip(1) {
                let id = rest
                    .split(|c: char| !(c.is_alphanumeric() || "-.".contains(c)))
                    .next();
                let id = id.unwrap_or_default();
                if !id.starts_with("MQTT-") && !id.starts_with('U') {
                    continue;
                }
                let key = (version.to_owned(), id.to_owned());
                if !statements.iter().any(|statement| statement.key == key) {
                    bail!("{path}: there is no {version}:{id}");
                }
                if !shown.keys().any(|(of, _)| *of == key) {
                    bail!("{path}: {version}:{id} is named and was not asserted");
                }
            }
        }
    }
    Ok(())
}

fn sources(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| format!("{}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path)?;
                found.push((path.display().to_string(), text));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Returns the ids in a text, such as `MQTT-4.3.3-10`. `MQTT-` without a number after it is not an id.
fn citations(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (start, _) in text.match_indices("MQTT-") {
        let rest = &text[start..];
        let end = rest[5..]
            .find(|c: char| !(c.is_ascii_digit() || "-.".contains(c)))
            .map_or(rest.len(), |end| end + 5);
        let id = rest[..end].trim_end_matches(['.', '-']);
        if id.len() > 5 {
            found.push(id);
        }
    }
    found
}

/// The names of the tests that have asserted a statement, by statement and end.
type Shown = BTreeMap<(Key, End), BTreeSet<String>>;

/// Runs the conformance tests, which append each asserted statement to a file. Returns the content of the file.
fn run_tests() -> Result<Shown> {
    let folder = target();
    std::fs::create_dir_all(&folder).context("cannot make the target folder")?;
    let record = folder.join("conformance-record");
    let _ = std::fs::remove_file(&record);
    let mut tests = cargo("test --locked --package tests --test programs conformance::");
    run_command(tests.env("RPUBSUB_CONFORMANCE", &record))?;
    let text = std::fs::read_to_string(&record).context("the tests have recorded nothing")?;
    let mut shown = Shown::new();
    for line in text.lines() {
        let fields: Vec<_> = line.split('\t').collect();
        let [version, id, end, test] = fields[..] else {
            bail!("the record has a line {line:?}");
        };
        let end = match end {
            "Client" => End::Client,
            _ => End::Server,
        };
        let key = (version.to_owned(), id.to_owned());
        shown.entry((key, end)).or_default().insert(test.to_owned());
    }
    Ok(shown)
}

const HEAD: &str = "\
# Statements and tests

This table is for developers; [conformance.md](../conformance.md) explains it. `cargo xtask conformance` writes it.

";

/// Returns the text of the page, and the statements without a test.
fn report(
    statements: &[Statement],
    not_applicable: &BTreeMap<(Key, End), String>,
    shown: &Shown,
) -> Result<(String, Vec<String>)> {
    let mut counts = BTreeMap::new();
    let mut untested = Vec::new();
    let mut tables = String::new();
    let mut section = String::new();
    for statement in statements {
        let (version, id) = &statement.key;
        let name = section_name(version, id);
        if name != section {
            write!(
                tables,
                "\n## {name}\n\n| Statement | What it says | End | Shown by |\n"
            )?;
            tables += "| --- | --- | --- | --- |\n";
            section.clone_from(&name);
        }
        let mut outcome = Outcome::NotApplicable;
        for end in &statement.ends {
            let at = (statement.key.clone(), *end);
            let cell = match (shown.get(&at), not_applicable.get(&at)) {
                (Some(tests), _) => {
                    outcome = outcome.max(Outcome::Tested);
                    let tests = tests.iter().map(|test| format!("`{test}`"));
                    tests.take(3).collect::<Vec<_>>().join(", ")
                }
                (None, Some(reason)) => format!("not applicable: {reason}"),
                (None, None) => {
                    outcome = Outcome::Untested;
                    untested.push(format!("{version}:{id} at the {end:?}").to_lowercase());
                    "**untested**".to_owned()
                }
            };
            let requirement = statement.requirement.replace('|', "\\|");
            writeln!(tables, "| {id} | {requirement} | {end:?} | {cell} |")?;
        }
        let count: &mut [u64; 3] = counts.entry(name).or_default();
        count[outcome as usize] += 1;
    }
    let mut text = HEAD.to_owned();
    text += "| | Statements | Tested | Not applicable | Untested |\n";
    text += "| --- | ---: | ---: | ---: | ---: |\n";
    for (name, [not_applicable, tested, untested]) in &counts {
        let sum = tested + not_applicable + untested;
        writeln!(
            text,
            "| {name} | {sum} | {tested} | {not_applicable} | {untested} |"
        )?;
    }
    Ok((text + &tables, untested))
}

/// The result for a statement: the highest of the results for its ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    NotApplicable,
    Tested,
    Untested,
}

fn section_name(version: &str, id: &str) -> String {
    if id.starts_with('U') {
        format!("Rules without a number, {version}")
    } else {
        format!("MQTT {version}")
    }
}
