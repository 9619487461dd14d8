//! Public configurations of mosquitto from tutorials, images and distributions, in `tests/configurations`. Each is
//! started with `rbroker` and with mosquitto. Both brokers must reject it, or permit the same clients to publish to the
//! same listeners. A difference must have a heading in docs/differences.md.
//!
//! Ports are replaced by free ports, and absolute paths get a temporary folder before them; the rest is unchanged. This
//! test creates the files that a configuration names. Of two brokers in a bridge only the local one runs.
#![cfg(unix)]

mod place;
mod prepared;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::{Certificates, Validity, has_mosquitto};

use prepared::{Outcome, Prepared};

/// Number of configurations that run at the same time.
const THREADS: usize = 4;

/// A line of the index of configurations.
struct Entry {
    name: String,
    /// The heading of docs/differences.md, if the outcomes differ.
    difference: Option<String>,
}

fn configurations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("configurations")
}

fn index() -> Vec<Entry> {
    let text = fs::read_to_string(configurations().join("index.tsv")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entry = |line: &str| {
        let [name, _, difference] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("three columns are expected: {line}");
        };
        Entry {
            name: name.to_owned(),
            difference: Some(difference.to_owned()).filter(|text| text != "-"),
        }
    };
    lines.map(entry).collect()
}

/// Compares the outcomes of both brokers. Adds to `allowed` the listeners of mosquitto at which a client may publish.
/// Returns the errors.
fn compare(
    entry: &Entry,
    certificates: &Certificates,
    headings: &str,
    allowed: &AtomicUsize,
) -> Result<(), String> {
    let theirs = Prepared::new(&entry.name, certificates);
    let (expected, said) = theirs.outcome("mosquitto", certificates)?;
    let ours = Prepared::new(&entry.name, certificates);
    // A broker that a test kills leaves its control socket, so this broker has none.
    let config = ours.config();
    let mut text = fs::read(&config).unwrap();
    text.extend_from_slice(b"\ncontrol_socket none\n");
    fs::write(&config, text).unwrap();
    let (found, errors) = ours.outcome("rbroker", certificates)?;
    let may_publish = |results: &&[i32; 4]| results[..2].contains(&0);
    if let Outcome::Serves(results) = &expected {
        allowed.fetch_add(
            results.iter().filter(may_publish).count(),
            Ordering::Relaxed,
        );
    }
    let Some(difference) = &entry.difference else {
        return if found == expected {
            Ok(())
        } else {
            Err(format!(
                "mosquitto: {expected:?} {said}\nrbroker: {found:?} {errors}"
            ))
        };
    };
    if !headings.contains(&format!("\n### {difference}\n")) {
        return Err(format!("docs/differences.md has no heading '{difference}'"));
    }
    if found == expected {
        return Err(format!(
            "'{difference}' is no difference any more: {found:?}"
        ));
    }
    let folder = ours.folder.path().to_str().unwrap();
    let names_file = |line: &str| line.starts_with("Error: ") && line.contains(folder);
    if matches!(found, Outcome::Ends(_)) && !errors.lines().any(names_file) {
        return Err(format!("the message does not name the file: {errors}"));
    }
    Ok(())
}

#[test]
fn public_configurations_have_the_outcome_that_they_have_with_mosquitto() {
    if !has_mosquitto("public_configurations_have_the_outcome_that_they_have_with_mosquitto") {
        return;
    }
    let entries = index();
    assert!(entries.len() >= 60);
    let certificates = Certificates::new();
    certificates.server("server", &["localhost", "127.0.0.1"], Validity::Now);
    certificates.client("me");
    certificates.client("revoked");
    certificates.revoke("revoked");
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let headings = fs::read_to_string(manifest.join("../docs/differences.md")).unwrap();
    let allowed = AtomicUsize::new(0);
    let (next, failures) = (Mutex::new(entries.iter()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let entry = next.lock().unwrap().next();
            let Some(entry) = entry else { return };
            if let Err(what) = compare(entry, &certificates, &headings, &allowed) {
                failures
                    .lock()
                    .unwrap()
                    .push(format!("{}: {what}", entry.name));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    let named = entries.iter().filter(|entry| entry.difference.is_some());
    let named = named.count();
    println!(
        "{} configurations: {} the same, {named} with a named difference, {} failed",
        entries.len(),
        entries.len() - named,
        failures.len(),
    );
    // If no client could connect anywhere, all outcomes would be equal and the test would prove nothing.
    assert!(allowed.into_inner() > 60);
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn every_configuration_is_in_the_index() {
    let names: Vec<_> = index().into_iter().map(|entry| entry.name).collect();
    for entry in fs::read_dir(configurations()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            name == "index" || names.iter().any(|known| known == name),
            "{name}"
        );
    }
}
