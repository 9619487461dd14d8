//! Builds Debian packages from a release folder: `rpubsub`, and `rpubsub-mosquitto-compat` with the names of the
//! mosquitto clients. Only dpkg-deb is used, because it can build packages for every architecture.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::contents::PROGRAMS;
use crate::{root, run};

const MAINTAINER: &str = "rpubsub developers <rpubsub@localhost>";

/// Folders of the release and their places in Debian. The completions of PowerShell are left out.
const FOLDERS: [(&str, &str); 6] = [
    ("bin", "usr/bin"),
    ("share/man", "usr/share/man"),
    ("share/doc/rpubsub", "usr/share/doc/rpubsub"),
    (
        "share/bash-completion/completions",
        "usr/share/bash-completion/completions",
    ),
    (
        "share/zsh/site-functions",
        "usr/share/zsh/vendor-completions",
    ),
    (
        "share/fish/vendor_completions.d",
        "usr/share/fish/vendor_completions.d",
    ),
];

/// Files of the folder `packaging` and their places in Debian.
const FILES: [(&str, &str); 2] = [
    ("rbroker.conf", "etc/rbroker/rbroker.conf"),
    ("rbroker.service", "lib/systemd/system/rbroker.service"),
];

/// Builds the packages for an architecture of Debian. They are written next to the release folder. Returns their paths.
pub(crate) fn build(release: &Path, architecture: &str) -> Result<Vec<PathBuf>> {
    let parent = release.parent().context("a release folder is in another")?;
    let stage = parent.join(format!("stage-{architecture}"));
    let main = build_main(release, &stage, architecture)?;
    let compat = build_compat(&stage)?;
    std::fs::remove_dir_all(&stage)?;
    Ok(vec![main, compat])
}

fn build_main(release: &Path, stage: &Path, architecture: &str) -> Result<PathBuf> {
    clear(stage)?;
    for (from, to) in FOLDERS {
        let to = stage.join(to);
        std::fs::create_dir_all(to.parent().context("it has a folder")?)?;
        run(Command::new("cp")
            .arg("-r")
            .arg(release.join(from))
            .arg(&to))?;
    }
    for (from, to) in FILES {
        let to = stage.join(to);
        std::fs::create_dir_all(to.parent().context("it has a folder")?)?;
        std::fs::copy(root().join("packaging").join(from), to)?;
    }
    // Debian requires compressed manual pages, and a file `copyright`. The licences of the crates are next to that
    // file.
    let pages = files_below(&stage.join("usr/share/man"))?;
    run(Command::new("gzip").arg("-9n").args(pages))?;
    let documents = stage.join("usr/share/doc/rpubsub");
    std::fs::rename(
        documents.join("THIRD-PARTY-LICENSES.txt"),
        documents.join("copyright.crates"),
    )?;
    std::fs::write(documents.join("copyright"), copyright()?)?;
    let mut depends = vec!["adduser".to_owned()];
    depends.extend(libraries(&stage.join("usr/bin"))?);
    let control = [
        ("Package", "rpubsub"),
        ("Architecture", architecture),
        ("Depends", &depends.join(", ")),
        ("Suggests", "rpubsub-mosquitto-compat"),
        (
            "Description",
            "MQTT broker and clients
 rpub, rsub and rrr publish, subscribe and send requests with the options of
 mosquitto_pub, mosquitto_sub and mosquitto_rr. rbroker is a broker for MQTT
 3.1, 3.1.1 and 5.0 that reads the configuration language of mosquitto. The
 service is installed but not started.",
        ),
    ];
    pack(stage, "debian", &control)
}

fn build_compat(stage: &Path) -> Result<PathBuf> {
    clear(stage)?;
    let documents = stage.join("usr/share/doc/rpubsub-mosquitto-compat");
    std::fs::create_dir_all(&documents)?;
    std::fs::write(documents.join("copyright"), copyright()?)?;
    let depends = format!("rpubsub (>= {})", env!("CARGO_PKG_VERSION"));
    let control = [
        ("Package", "rpubsub-mosquitto-compat"),
        ("Architecture", "all"),
        ("Depends", depends.as_str()),
        // The package mosquitto-clients has files of these names and does not use update-alternatives, so both packages
        // cannot be installed at the same time.
        ("Conflicts", "mosquitto-clients"),
        ("Provides", "mosquitto-clients"),
        ("Replaces", "mosquitto-clients"),
        (
            "Description",
            "mosquitto's names for the clients of rpubsub
 mosquitto_pub, mosquitto_sub and mosquitto_rr are rpub, rsub and rrr, through
 update-alternatives.",
        ),
    ];
    pack(stage, "debian-compat", &control)
}

fn clear(folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    Ok(std::fs::create_dir_all(folder)?)
}

/// Adds the control files to the folder of a package, and builds the package. Returns its path.
fn pack(stage: &Path, scripts: &str, control: &[(&str, &str)]) -> Result<PathBuf> {
    let debian = stage.join("DEBIAN");
    std::fs::create_dir_all(&debian)?;
    let folder = root().join("packaging").join(scripts);
    for script in files_below(&folder)? {
        let name = script.file_name().context("a file has a name")?;
        std::fs::copy(&script, debian.join(name))?;
    }
    let version = env!("CARGO_PKG_VERSION");
    let mut text =
        format!("Version: {version}\nMaintainer: {MAINTAINER}\nSection: net\nPriority: optional\n");
    for (name, value) in control {
        writeln!(text, "{name}: {value}")?;
    }
    writeln!(text, "Installed-Size: {}", kibibytes(stage)?)?;
    std::fs::write(debian.join("control"), text)?;
    write_checksums(stage)?;
    // The modes of the files must not depend on the umask of the user who builds.
    run(Command::new("chmod")
        .arg("-R")
        .arg("u=rwX,go=rX")
        .arg(stage))?;
    let parent = stage.parent().context("a stage is in a folder")?;
    let value = |wanted: &str| {
        let found = control.iter().find(|(name, _)| *name == wanted);
        found.map_or("", |(_, value)| *value)
    };
    let name = format!(
        "{}_{version}_{}.deb",
        value("Package"),
        value("Architecture")
    );
    let package = parent.join(name);
    let mut command = Command::new("dpkg-deb");
    command
        .args(["--root-owner-group", "-Zxz", "--build"])
        .arg(stage)
        .arg(&package)
        .env("SOURCE_DATE_EPOCH", "0");
    run(&mut command)?;
    Ok(package)
}

fn kibibytes(stage: &Path) -> Result<u64> {
    let mut bytes = 0;
    for file in files_below(stage)? {
        bytes += file.metadata()?.len();
    }
    Ok(bytes.div_ceil(1024))
}

/// Writes the checksums for `dpkg --verify`. Files in `etc` are left out, because users change them.
fn write_checksums(stage: &Path) -> Result<()> {
    let mut command = Command::new("md5sum");
    command.current_dir(stage);
    for file in files_below(stage)? {
        let relative = file.strip_prefix(stage)?;
        if !relative.starts_with("DEBIAN") && !relative.starts_with("etc") {
            command.arg(relative);
        }
    }
    let output = command.output().context("cannot run md5sum")?;
    ensure!(output.status.success(), "md5sum failed");
    Ok(std::fs::write(stage.join("DEBIAN/md5sums"), output.stdout)?)
}

/// Returns all files below a folder, sorted.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            files.extend(files_below(&entry.path())?);
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the packages with the shared libraries that the programs need. readelf finds them in the ELF headers of
/// every architecture. dpkg-shlibdeps would need the libraries of that architecture to be installed.
fn libraries(folder: &Path) -> Result<BTreeSet<String>> {
    let mut packages = BTreeSet::new();
    let mut newest = None;
    for name in PROGRAMS {
        let mut command = Command::new("readelf");
        command.args(["--wide", "--dynamic", "--version-info"]);
        let output = command.arg(folder.join(name)).output();
        let output = output.context("cannot run readelf")?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.contains("[libgcc_s.so.1]") {
            packages.insert("libgcc-s1".to_owned());
        }
        newest = newest.max(newest_glibc(&text));
    }
    if let Some((major, minor)) = newest {
        packages.insert(format!("libc6 (>= {major}.{minor})"));
    }
    Ok(packages)
}

/// Returns the newest version of glibc that a program requires, according to the output of readelf.
fn newest_glibc(text: &str) -> Option<(u32, u32)> {
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit());
        let mut numbers = rest.get(..end.unwrap_or(rest.len()))?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

/// Returns the text of the file `copyright`, which every Debian package must have.
fn copyright() -> Result<String> {
    let mut text = String::from(
        "rpubsub is licensed under the MIT licence or the Apache licence 2.0, as you choose.\n\
         copyright.crates has the licences of the crates that the programs are linked with.\n\
         On Debian systems the Apache licence is in /usr/share/common-licenses/Apache-2.0.\n\n",
    );
    text.push_str(&std::fs::read_to_string(root().join("LICENSE-MIT"))?);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_version_of_glibc_counts() {
        let text = "Name: GLIBC_2.4  Flags\n (GLIBC_2.34) [libc.so.6]\n GLIBC_2.9\n";
        assert_eq!(newest_glibc(text), Some((2, 34)));
        assert_eq!(
            newest_glibc("There is no dynamic section in this file."),
            None
        );
    }
}
