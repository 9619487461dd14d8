//! `cargo xtask bench`: measures the cost of our programs and libraries in comparison with others, and writes the
//! tables of `docs/performance.md`. callgrind counts instructions; these counts repeat exactly, and CI compares them
//! with the committed figures. Each ratio of times compares programs that ran side by side on a machine without other
//! load.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{cargo, root, run, setup, target};

/// The factor by which a count may exceed the committed figure, because compilers differ.
const ROOM: f64 = 1.05;

/// The figures, relative to the workspace.
const FIGURES: &str = "docs/generated/instructions.tsv";

/// Operation, library, and instructions for each operation.
type Counts = Vec<(String, String, u64)>;

pub(crate) fn run_with(options: &[&str]) -> Result<()> {
    match options {
        [] => {
            let counts = count(|_, _| true)?;
            write_figures(&counts)?;
            write_report(&counts)
        }
        ["--instructions"] => write_figures(&count(|_, _| true)?),
        ["--check"] => check(),
        _ => bail!("bench has --instructions and --check"),
    }
}

/// Counts the instructions of the cases of mqtt-bench that `is_wanted` selects by operation and library.
fn count(is_wanted: impl Fn(&str, &str) -> bool) -> Result<Counts> {
    setup::valgrind();
    let folder = target().join("bench");
    let manifest = root().join("crates/mqtt-bench/Cargo.toml");
    let mut build = cargo("build --release --locked --manifest-path");
    run(build.arg(manifest).env("CARGO_TARGET_DIR", &folder))?;
    let program = folder.join("release/mqtt-bench");
    let cases = Command::new(&program).output().context("mqtt-bench")?;
    let cases = String::from_utf8(cases.stdout)?;
    let mut counts = Counts::new();
    for case in cases.lines() {
        let (name, by) = case
            .split_once('\t')
            .context("a case is a name and a maker")?;
        if is_wanted(name, by) {
            // Two counts are subtracted, so that the instructions before and after the operations do not matter.
            let (few, many) = (1000, 3000);
            let collected = |times| collected(&program, name, by, times);
            let each = (collected(many)? - collected(few)?) / (many - few);
            println!("{each:8} {name}, {by}");
            counts.push((name.into(), by.into(), each));
        }
    }
    Ok(counts)
}

/// Runs a case under callgrind. Returns the number of instructions of the whole process.
fn collected(program: &PathBuf, name: &str, by: &str, times: u64) -> Result<u64> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(program).args([name, by, &times.to_string()]);
    let output = valgrind
        .output()
        .context("valgrind is needed, which counts the instructions")?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, collected) = collected.with_context(|| format!("{name}, {by}: {text}"))?;
    Ok(collected.trim().parse()?)
}

fn is_ours(by: &str) -> bool {
    by.starts_with("mqtt-") && by != "mqtt-protocol-core"
}

fn write_figures(counts: &Counts) -> Result<()> {
    let mut text = String::new();
    for (name, by, each) in counts {
        writeln!(text, "{name}\t{by}\t{each}")?;
    }
    std::fs::write(root().join(FIGURES), text)?;
    Ok(())
}

/// Compares the counts of our libraries with the committed figures, and fails if an operation needs more instructions
/// than [`ROOM`] permits.
fn check() -> Result<()> {
    let committed = std::fs::read_to_string(root().join(FIGURES)).context(FIGURES)?;
    let committed: BTreeMap<_, _> = committed
        .lines()
        .filter_map(|line| line.rsplit_once('\t'))
        .collect();
    let mut grown = Vec::new();
    // This case is left out: under callgrind it takes long to make a million subscriptions.
    let is_wanted = |name: &str, by: &str| is_ours(by) && !name.contains("1000000");
    for (name, by, each) in count(is_wanted)? {
        let key = format!("{name}\t{by}");
        let figure = committed
            .get(key.as_str())
            .with_context(|| format!("{name} is not in {FIGURES}"))?;
        let figure: f64 = figure.parse()?;
        if each as f64 > figure * ROOM {
            grown.push(format!("{name}: {each} where {figure} are committed"));
        }
    }
    if !grown.is_empty() {
        bail!(
            "more instructions than before: {}; if that is wanted, `cargo xtask bench --instructions` writes {FIGURES}",
            grown.join("; ")
        );
    }
    println!("No operation takes more than 5 % more instructions than {FIGURES} says.");
    Ok(())
}

/// Replaces the measured parts of the report. Comments with the name of a part mark its begin and end.
fn write_report(counts: &Counts) -> Result<()> {
    let path = root().join("docs/performance.md");
    let mut report = std::fs::read_to_string(&path).context("docs/performance.md")?;
    replace(&mut report, "instructions", &instruction_table(counts)?)?;
    setup::mosquitto();
    run(&mut cargo("build --release --locked --bins"))?;
    // Standard error goes to the terminal, so that the progress of cargo and of the measurement is visible.
    let measured = cargo("run --release --locked --package tests --example bench")
        .stderr(Stdio::inherit())
        .output()?;
    if !measured.status.success() {
        bail!("the programs could not be measured");
    }
    let measured = String::from_utf8(measured.stdout)?;
    for part in measured.split("## ").skip(1) {
        let (name, table) = part.split_once('\n').context("a part has a name")?;
        replace(&mut report, name, table.trim())?;
    }
    std::fs::write(path, report)?;
    Ok(())
}

/// Replaces the part of a document between the comments that name it.
pub(crate) fn replace(report: &mut String, name: &str, table: &str) -> Result<()> {
    let (begin, end) = (
        format!("<!-- {name} -->\n"),
        format!("<!-- end of {name} -->"),
    );
    let place = || format!("there is no place for {name}");
    let start = report.find(&begin).with_context(place)? + begin.len();
    let stop = report.find(&end).with_context(place)?;
    report.replace_range(start..stop, &format!("{}\n", table.trim_end()));
    Ok(())
}

/// Returns the table of instructions, with a row for each operation. `ratio` compares our library with the best other
/// one.
fn instruction_table(counts: &Counts) -> Result<String> {
    let mut table = "| Operation | ours | best other | ratio | all others |\n| --- | ---: | ---: | ---: | --- |\n".to_owned();
    let mut names: Vec<_> = counts.iter().map(|(name, ..)| name).collect();
    names.dedup();
    for name in names {
        let of_name = || counts.iter().filter(move |(other, ..)| other == name);
        let ours = of_name().find(|(_, by, _)| is_ours(by));
        let Some((_, _, ours)) = ours else { continue };
        let others: Vec<_> = of_name()
            .filter(|(_, by, _)| !is_ours(by))
            .map(|(_, by, each)| (by, each))
            .collect();
        let codecs = others.iter().filter(|(by, _)| !by.contains("memcpy"));
        let best = codecs.map(|(_, each)| **each).min();
        let list: Vec<_> = others
            .iter()
            .map(|(by, each)| format!("{by} {each}"))
            .collect();
        let (best, ratio) = best.map_or((String::new(), String::new()), |best| {
            (
                best.to_string(),
                format!("{:.2}", *ours as f64 / best as f64),
            )
        });
        writeln!(
            table,
            "| {name} | {ours} | {best} | {ratio} | {} |",
            list.join(", ")
        )?;
    }
    Ok(table)
}
