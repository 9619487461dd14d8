//! `cargo xtask libraries`: compares mqtt-client with rumqttc for the README of mqtt-client. `comparison/` has the same
//! six programs for both libraries. The task compares their lines of code, the number of crates, the build time, and
//! the time and CPU time under load.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::bench::replace;
use crate::{cargo, root, run, setup, target};

/// The libraries, which are also the names of their folders in `comparison/`. The first is the library of this
/// repository.
const LIBRARIES: [&str; 2] = ["mqtt-client", "rumqttc"];

/// The programs, and the task of each.
const PROGRAMS: [(&str, &str); 6] = [
    ("publish", "publish three messages"),
    ("subscribe", "subscribe, print three messages"),
    ("tls", "TLS and password"),
    ("request_response", "request and response"),
    ("reconnect", "a session that survives cuts"),
    ("threads", "two threads publish, one reads"),
];

const README: &str = "crates/mqtt-client/README.md";

pub(crate) fn run_with(options: &[&str]) -> Result<()> {
    match options {
        [] => {
            let builds = build_cold()?;
            run_programs("check", &LIBRARIES)?;
            setup::mosquitto();
            let loads = run_programs("measure", &LIBRARIES)?;
            write_readme(&[
                ("programs", program_table()?),
                ("builds", builds),
                ("loads", loads),
            ])
        }
        ["--programs"] => {
            LIBRARIES.iter().try_for_each(|library| build(library))?;
            run_programs("check", &LIBRARIES)?;
            write_readme(&[("programs", program_table()?)])
        }
        ["--load"] => {
            LIBRARIES.iter().try_for_each(|library| build(library))?;
            setup::mosquitto();
            let loads = run_programs("measure", &LIBRARIES)?;
            write_readme(&[("loads", loads)])
        }
        ["--check"] => {
            let [ours, _] = LIBRARIES;
            run_folders("check", &[(ours, build_for_check(ours)?)]).map(drop)
        }
        _ => bail!("libraries has --programs, --load and --check"),
    }
}

fn sources(library: &str) -> PathBuf {
    root().join("comparison").join(library)
}

/// Returns the folder into which the programs of a library are built.
fn build_folder(library: &str) -> PathBuf {
    target().join("comparison").join(library)
}

fn build(library: &str) -> Result<()> {
    // The build has no `--locked`. Otherwise each new dependency of mqtt-client would require a manual update of the
    // lock file in `comparison/`.
    let mut build = cargo("build --release --manifest-path");
    build.arg(sources(library).join("Cargo.toml"));
    run(build.env("CARGO_TARGET_DIR", build_folder(library)))
}

/// Builds the programs of a library without optimisation, into the target folder of the workspace, so that the crates that
/// are built there already are used. Returns the folder of the programs.
fn build_for_check(library: &str) -> Result<PathBuf> {
    let mut build = cargo("build --manifest-path");
    build.arg(sources(library).join("Cargo.toml"));
    run(build.env("CARGO_TARGET_DIR", target()))?;
    Ok(target().join("debug"))
}

/// Builds the programs of each library without any cached result. Returns a table of the crates and the build times.
fn build_cold() -> Result<String> {
    let mut table =
        "| | crates | build, wall | build, CPU |\n| --- | ---: | ---: | ---: |\n".to_owned();
    for library in LIBRARIES {
        let manifest = sources(library).join("Cargo.toml");
        // The crates are downloaded before, so that the build time does not depend on the network.
        run(cargo("fetch --manifest-path").arg(&manifest))?;
        let folder = build_folder(library);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
        }
        let (start, cpu) = (Instant::now(), cpu_of_children()?);
        build(library)?;
        let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu_of_children()? - cpu);
        let crates = crates(library, &manifest)?;
        writeln!(table, "| {library} | {crates} | {wall:.0} s | {cpu:.0} s |")?;
    }
    Ok(table)
}

/// Counts the crates that are linked into a program with this library, including the library.
fn crates(library: &str, manifest: &Path) -> Result<usize> {
    let mut tree = cargo("tree --edges normal --prefix none --format {p} --package");
    let output = tree
        .arg(library)
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let mut crates: Vec<_> = text
        .lines()
        .map(|line| line.trim_end_matches(" (*)"))
        .filter(|line| !line.is_empty())
        .collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(crates.len())
}

/// Returns the CPU time in seconds of all ended child processes and their descendants.
fn cpu_of_children() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("this needs Linux")?;
    // The second field is the name of the program in parentheses, which may contain spaces. So the fields are counted
    // from the last parenthesis.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/self/stat")?;
    let ticks = fields.split(' ').skip(13).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<std::result::Result<_, _>>()?;
    Ok(ticks as f64 / 100.0)
}

/// Runs the optimised programs of these libraries.
fn run_programs(task: &str, libraries: &[&'static str]) -> Result<String> {
    let folder = |library: &&'static str| (*library, build_folder(library).join("release"));
    let folders: Vec<_> = libraries.iter().map(folder).collect();
    run_folders(task, &folders)
}

/// Runs the example `libraries` of the crate `tests`, which starts brokers and the programs of these folders. Returns its
/// output.
fn run_folders(task: &str, libraries: &[(&str, PathBuf)]) -> Result<String> {
    // Only an optimised rbroker gives meaningful times.
    let profile = if task == "measure" { "--release" } else { "" };
    let mut example = cargo(&format!(
        "run {profile} --locked --package tests --example libraries -- {task}"
    ));
    for (library, folder) in libraries {
        example.arg(format!("{library}={}", folder.display()));
    }
    let output = example.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    if !output.status.success() {
        bail!("the programs failed");
    }
    Ok(text)
}

fn program_table() -> Result<String> {
    let [ours, theirs] = LIBRARIES;
    let mut table = format!("| Program | {ours} | {theirs} |\n| --- | ---: | ---: |\n");
    let mut sums = [0; 2];
    for (program, task) in PROGRAMS {
        let mut counts = [0; 2];
        for (count, library) in counts.iter_mut().zip(LIBRARIES) {
            let file = format!("src/bin/{program}.rs");
            let path = sources(library).join(file);
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            *count = lines_of_code(&text);
        }
        let [ours, theirs] = counts;
        sums = [sums[0] + ours, sums[1] + theirs];
        writeln!(table, "| `{program}`: {task} | {ours} | {theirs} |")?;
    }
    writeln!(table, "| all | {} | {} |", sums[0], sums[1])?;
    Ok(table)
}

/// Counts the lines that are neither empty nor a comment.
fn lines_of_code(text: &str) -> usize {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .count()
}

fn write_readme(tables: &[(&str, String)]) -> Result<()> {
    let path = root().join(README);
    let mut text = std::fs::read_to_string(&path).context(README)?;
    for (name, table) in tables {
        println!("{table}");
        replace(&mut text, name, table).context(README)?;
    }
    std::fs::write(path, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_and_comments_are_not_lines_of_code() {
        assert_eq!(lines_of_code("//! a\n\nfn a() {\n    // b\n}\n"), 2);
    }

    #[test]
    fn the_readme_has_the_table_of_the_programs() {
        let readme = std::fs::read_to_string(root().join(README)).unwrap();
        let table = program_table().unwrap();
        assert!(readme.contains(&table), "run `cargo xtask libraries`");
    }
}
