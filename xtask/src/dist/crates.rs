//! Lists the crates that are linked into the programs, as a bill of materials and with the texts of their licences.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::targets::Target;
use crate::cargo;

/// A crate that is linked into a program.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crate {
    name: String,
    version: String,
    /// The licence as an SPDX expression. Empty if the crate names no licence.
    license: String,
    /// The folder of the source code.
    folder: PathBuf,
    is_ours: bool,
}

/// Returns the crates that are linked into the programs on a platform, sorted by name.
pub(crate) fn linked(platform: &Target) -> Result<BTreeSet<Crate>> {
    let mut metadata = cargo("metadata --format-version 1 --locked --filter-platform");
    let output = metadata
        .arg(platform.name)
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = by_id(&metadata["packages"]);
    let nodes = by_id(&metadata["resolve"]["nodes"]);
    let ours = packages
        .iter()
        .find(|(_, package)| package["name"] == "mqtt-cli");
    let mut rest = vec![*ours.context("mqtt-cli is not in the workspace")?.0];
    let mut seen = BTreeSet::new();
    while let Some(id) = rest.pop() {
        if seen.insert(id) {
            rest.extend(dependencies(nodes.get(id).copied()));
        }
    }
    let found = seen.iter().filter_map(|id| packages.get(id));
    Ok(found.map(|package| Crate::new(package)).collect())
}

fn by_id(list: &Value) -> BTreeMap<&str, &Value> {
    let items = list.as_array().into_iter().flatten();
    let with_id = items.filter_map(|item| Some((item["id"].as_str()?, item)));
    with_id.collect()
}

/// Returns the dependencies of a crate that are linked. Dependencies of build scripts and tests are left out.
fn dependencies(node: Option<&Value>) -> impl Iterator<Item = &str> {
    let list = node.and_then(|node| node["deps"].as_array());
    let linked = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array();
        let mut kinds = kinds.into_iter().flatten();
        kinds.any(|kind| kind["kind"].is_null())
    };
    let linked = list.into_iter().flatten().filter(linked);
    linked.filter_map(|dependency| dependency["pkg"].as_str())
}

impl Crate {
    fn new(package: &Value) -> Self {
        let text = |name: &str| package[name].as_str().unwrap_or_default().to_owned();
        let manifest = PathBuf::from(text("manifest_path"));
        Self {
            name: text("name"),
            version: text("version"),
            license: text("license"),
            folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
            is_ours: package["source"].is_null(),
        }
    }

    fn component(&self) -> Value {
        let purl = format!("pkg:cargo/{}@{}", self.name, self.version);
        // Old crates write a slash for "or", which SPDX does not permit.
        let license = self.license.replace('/', " OR ");
        let licenses = if license.is_empty() {
            json!([])
        } else {
            json!([{ "expression": license }])
        };
        json!({
            "type": "library",
            "bom-ref": &purl,
            "name": &self.name,
            "version": &self.version,
            "licenses": licenses,
            "purl": &purl,
        })
    }

    /// Returns the texts of the licence files in the folder of the crate.
    fn license_texts(&self) -> Result<Vec<String>> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().to_uppercase();
            let starts = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];
            let is_license = starts.iter().any(|start| name.starts_with(start));
            if is_license && entry.file_type()?.is_file() {
                texts.push(String::from_utf8_lossy(&std::fs::read(entry.path())?).into_owned());
            }
        }
        texts.sort();
        Ok(texts)
    }
}

/// Returns the bill of materials in the format CycloneDX 1.5. The optional time and serial number are left out, so that
/// two builds of the same version produce the same file.
pub(crate) fn bill_of_materials(crates: &BTreeSet<Crate>) -> Result<String> {
    let components: Vec<_> = crates.iter().map(Crate::component).collect();
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "name": "rpubsub",
                "version": env!("CARGO_PKG_VERSION"),
            },
        },
        "components": components,
    });
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

/// Returns the licences of all crates of other projects. A text that several crates share is printed once.
pub(crate) fn licenses(crates: &BTreeSet<Crate>) -> Result<String> {
    let mut by_text: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut page = String::from("The programs are linked with these crates:\n\n");
    for of_other in crates.iter().filter(|one| !one.is_ours) {
        let name = format!("{} {}", of_other.name, of_other.version);
        writeln!(page, "{name}: {}", of_other.license)?;
        for text in of_other.license_texts()? {
            by_text.entry(text).or_default().push(name.clone());
        }
    }
    let mut texts: Vec<_> = by_text.into_iter().collect();
    texts.sort_by(|one, other| one.1.cmp(&other.1));
    for (text, names) in texts {
        let line = "-".repeat(72);
        writeln!(page, "\n{line}\n{}\n{line}\n", names.join(", "))?;
        page.push_str(text.trim_end());
        page.push('\n');
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linked_crates_have_licenses_and_no_test_dependencies() {
        let platform = Target::find("x86_64-pc-windows-gnu").unwrap();
        let crates = linked(&platform).unwrap();
        let has = |name: &str| crates.iter().any(|one| one.name == name);
        assert!(has("rustls") && has("mqtt-codec") && has("windows-sys"));
        // `proptest` is only used by tests, `cc` only by build scripts, and `sd-notify` only on another platform.
        assert!(!has("proptest") && !has("cc") && !has("sd-notify"));
        for one in &crates {
            assert!(!one.license.is_empty(), "{}", one.name);
        }
        let text = licenses(&crates).unwrap();
        assert!(text.contains("Permission is hereby granted"));
        let bill: Value = serde_json::from_str(&bill_of_materials(&crates).unwrap()).unwrap();
        let components = bill["components"].as_array().unwrap();
        assert_eq!(components.len(), crates.len());
    }
}
