//! `cargo xtask mutants`: shows that the simulation finds known bugs.
//!
//! A simulation that finds nothing proves nothing until somebody has seen it find something. Each file in
//! `crates/mqtt-sim/mutants/` describes a mutant: a small change that breaks one behaviour of session, broker or store.
//! This task applies the mutants, one at a time, to a copy of the tree, builds the simulator, and requires that the
//! simulator finds each mutant. The product contains no part of this.

mod compile;
mod mutant;
mod tree;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::root;
use mutant::Mutant;
use tree::{Finding, Tree};

/// The folder with the files of the mutants.
const FOLDER: &str = "crates/mqtt-sim/mutants";

/// Number of parts into which the list of mutants is divided. CI runs one part, because its time limit is 30 minutes.
const PARTS: usize = 16;

/// Number of first seeds from which the simulator must find each mutant.
const STARTS: u64 = 3;

/// The number of first seeds with `--thorough`.
const THOROUGH_STARTS: u64 = 11;

/// Runs the mutants that the options select: by name, `--all`, or `--subset N/M` for part N of M, where N counts from
/// 0. Without a selection, the commit selects a part. `--thorough` starts from more seeds. `--check` applies the edits,
/// checks their types, and runs nothing.
pub(crate) fn run(options: &[&str]) -> Result<()> {
    let mutants = read(root())?;
    if options == ["--check"] {
        check(root(), &mutants)?;
        compile::check_types(&Tree::new(root())?, &mutants)?;
        println!("{} mutants apply and compile", mutants.len());
        return Ok(());
    }
    let (thorough, options): (Vec<&str>, Vec<&str>) =
        options.iter().partition(|option| **option == "--thorough");
    let starts = if thorough.is_empty() {
        STARTS
    } else {
        THOROUGH_STARTS
    };
    let chosen = choose(&mutants, &options)?;
    check(root(), &mutants)?;
    find_all(&chosen, mutants.len(), starts)
}

/// Reads all mutants of a workspace, sorted by the file that they change. So mutants of the same crate follow each
/// other, and fewer crates are built again.
fn read(root: &Path) -> Result<Vec<Mutant>> {
    let folder = root.join(FOLDER);
    let mut mutants = Vec::new();
    let entries = std::fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("cannot read '{}'", folder.display()))? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|stem| stem.to_str());
        let (Some(name), Some("mutant")) = (name, path.extension().and_then(|end| end.to_str()))
        else {
            bail!("'{}' is not the file of a mutant", path.display());
        };
        mutants.push(Mutant::parse(name, &std::fs::read_to_string(&path)?)?);
    }
    let file = |mutant: &Mutant| mutant.edits.first().map(|edit| edit.file.clone());
    mutants.sort_by_key(|mutant| (std::cmp::Reverse(file(mutant)), mutant.name.clone()));
    Ok(mutants)
}

/// Applies each mutant in memory. Reports all mutants that do not apply, because several tend to fail together when
/// code moves.
fn check(root: &Path, mutants: &[Mutant]) -> Result<()> {
    let mut errors = Vec::new();
    let mut numbers = BTreeSet::new();
    for mutant in mutants {
        if !numbers.insert(&mutant.number) {
            errors.push(format!("{}: {} is taken", mutant.name, mutant.number));
        }
        if let Err(error) = mutant.mutate(root) {
            let hint = whereabouts(root, mutant);
            errors.push(format!("{FOLDER}/{}.mutant: {error:#}{hint}", mutant.name));
        }
    }
    if !errors.is_empty() {
        bail!(
            "{} mutants do not apply:\n\n{}",
            errors.len(),
            errors.join("\n\n")
        );
    }
    Ok(())
}

/// Returns the files to which the edits of a mutant may have moved, for the error message.
fn whereabouts(root: &Path, mutant: &Mutant) -> String {
    let Ok(files) = tree::source_files(root) else {
        return String::new();
    };
    let sources = files
        .iter()
        .filter(|file| file.starts_with("crates/") && file.ends_with(".rs"));
    let mut hint = String::new();
    for file in sources {
        let Ok(text) = std::fs::read_to_string(root.join(file)) else {
            continue;
        };
        let is_there = |edit: &&mutant::Edit| edit.file != *file && edit.matches(&text).len() == 1;
        for edit in mutant.edits.iter().filter(is_there) {
            hint.push_str(&format!(
                "\n(an edit of '{}' would apply to '{file}')",
                edit.file
            ));
        }
    }
    hint
}

/// Returns the mutants that the options select.
fn choose<'a>(mutants: &'a [Mutant], options: &[&str]) -> Result<Vec<&'a Mutant>> {
    let part = match options {
        ["--all"] => return Ok(mutants.iter().collect()),
        ["--subset", part] => (*part).to_owned(),
        [] => {
            let part = format!("{}/{PARTS}", part_of_commit()?);
            println!("this commit runs cargo xtask mutants --subset {part}");
            part
        }
        names => {
            let by_name = |name: &&str| {
                let is_named = |mutant: &&Mutant| mutant.name == *name || mutant.number == *name;
                let mutant = mutants.iter().find(is_named);
                mutant.with_context(|| format!("no mutant '{name}' in {FOLDER}"))
            };
            return names.iter().map(by_name).collect();
        }
    };
    let numbers = part.split_once('/');
    let numbers = numbers.and_then(|(part, of)| Some((part.parse().ok()?, of.parse().ok()?)));
    let Some((part, parts)) = numbers.filter(|(part, parts): &(usize, usize)| part < parts) else {
        bail!("invalid --subset '{part}': expected N/M with N from 0 to M - 1");
    };
    // A part consists of neighbours in the list, because they change the same crate.
    let (from, to) = (
        mutants.len() * part / parts,
        mutants.len() * (part + 1) / parts,
    );
    Ok(mutants[from..to].iter().collect())
}

/// Returns the part of the mutants for this commit, which is computed from its hash. So the parts take turns over many
/// commits, and each commit always has the same part.
fn part_of_commit() -> Result<usize> {
    let output = std::process::Command::new("git")
        .current_dir(root())
        .args(["rev-parse", "--short=7", "HEAD"])
        .output()
        .context("cannot run git")?;
    let hash = String::from_utf8_lossy(&output.stdout);
    let number = u32::from_str_radix(hash.trim().get(..7).unwrap_or(""), 16);
    let number = number.context("cannot tell the commit (use --all or --subset N/M)")?;
    Ok(number as usize % PARTS)
}

/// Builds and runs each mutant, and prints the invariant that found it.
fn find_all(mutants: &[&Mutant], total: usize, starts: u64) -> Result<()> {
    let begin = Instant::now();
    let copy = Tree::new(root())?;
    copy.build().context("the copy without a mutant")?;
    copy.expect_clean()?;
    println!("no mutant: clean, {:.0} s", begin.elapsed().as_secs_f64());
    println!("| Mutant | Breaks | Found by | Seeds, median | Most | Time |");
    println!("| --- | --- | --- | ---: | ---: | ---: |");
    let mut failed = Vec::new();
    for mutant in mutants {
        let start = Instant::now();
        match find(&copy, mutant, starts) {
            Ok(row) => {
                let seconds = start.elapsed().as_secs_f64();
                println!("| {row} | {seconds:.0} s |");
            }
            Err(error) => {
                let seconds = start.elapsed().as_secs_f64();
                println!(
                    "| {} {} | not found: {error:#} | | | | {seconds:.0} s |",
                    mutant.number, mutant.name
                );
                failed.push(format!("{}: {error:#}", mutant.name));
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    if !failed.is_empty() {
        bail!(
            "{} mutants failed:\n\n{}",
            failed.len(),
            failed.join("\n\n")
        );
    }
    println!(
        "{} of {total} mutants, each found {starts} times of {starts}, in {seconds:.0} s",
        mutants.len()
    );
    Ok(())
}

/// Runs one mutant and returns its row of the table.
fn find(copy: &Tree, mutant: &Mutant, starts: u64) -> Result<String> {
    let originals = copy.apply(mutant)?;
    let findings = copy
        .build()
        .and_then(|()| copy.find_violations(mutant.needs_store, starts));
    copy.write_all(&originals)?;
    let findings = findings?;
    if let Some(clean) = findings
        .iter()
        .position(|finding| finding.invariant == "none")
    {
        bail!("the simulation does not find it from start {clean} of {starts}");
    }
    let by: BTreeSet<_> = findings.iter().map(|found| &*found.invariant).collect();
    let by: Vec<_> = by.into_iter().collect();
    let mut seeds: Vec<_> = findings.iter().map(|found: &Finding| found.seeds).collect();
    seeds.sort_unstable();
    let (median, most) = (seeds[seeds.len() / 2], seeds[seeds.len() - 1]);
    let Mutant { number, name, .. } = mutant;
    Ok(format!(
        "{number} {name} | {} | {} | {median} | {most}",
        mutant.breaks,
        by.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mutant_applies_to_the_code() {
        let mutants = read(root()).unwrap();
        assert!(mutants.len() >= 44);
        if let Err(error) = check(root(), &mutants) {
            panic!("{error}");
        }
    }

    #[test]
    fn parts_of_the_mutants_together_are_all_mutants() {
        let mutants = read(root()).unwrap();
        let parts =
            ["0/3", "1/3", "2/3"].map(|part| choose(&mutants, &["--subset", part]).unwrap());
        assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), mutants.len());
        for invalid in ["3/3", "1", "a/b", "0/0"] {
            assert!(
                choose(&mutants, &["--subset", invalid]).is_err(),
                "{invalid}"
            );
        }
    }

    #[test]
    fn chooses_mutants_by_name_or_number() {
        let mutants = read(root()).unwrap();
        let chosen = choose(&mutants, &["M8", "publishes-will-twice"]).unwrap();
        let numbers: Vec<_> = chosen.iter().map(|mutant| &*mutant.number).collect();
        assert_eq!(numbers, ["M8", "M15"]);
        let error = choose(&mutants, &["M0"]).unwrap_err().to_string();
        assert_eq!(error, "no mutant 'M0' in crates/mqtt-sim/mutants");
    }
}
