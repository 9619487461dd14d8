//! Packs release folders into archives, and lists the checksums of the archives.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::targets::Target;
use crate::run;

/// The file with the checksums of all archives. `sha256sum --check` can read it.
const CHECKSUMS: &str = "SHA256SUMS";

/// Packs a folder into a zip file for Windows, and into a compressed tar file for all other platforms. Returns the path
/// of the archive, which is next to the folder.
pub(crate) fn pack(folder: &Path, platform: &Target) -> Result<PathBuf> {
    let name = folder.file_name().context("a release folder has a name")?;
    let parent = folder.parent().context("a release folder is in another")?;
    let end = if platform.is_windows() {
        "zip"
    } else {
        "tar.gz"
    };
    let archive = parent.join(format!("{}.{end}", name.to_string_lossy()));
    let _ = std::fs::remove_file(&archive);
    let mut command = if platform.is_windows() {
        let mut zip = Command::new("python3");
        zip.args(["-m", "zipfile", "-c"]);
        zip
    } else {
        let mut tar = Command::new("tar");
        // The archive contains neither times nor user names of this machine. So two builds of the same version
        // produce the same archive.
        tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0"]);
        tar.args(["--numeric-owner", "--use-compress-program=gzip -9n", "-cf"]);
        tar
    };
    run(command.arg(&archive).arg(name).current_dir(parent))?;
    Ok(archive)
}

/// Writes the checksums of all archives and packages in the folder.
pub(crate) fn write_checksums(folder: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if [".tar.gz", ".zip", ".deb"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            names.push(name);
        }
    }
    names.sort();
    let mut command = Command::new("sha256sum");
    let output = command
        .args(&names)
        .current_dir(folder)
        .output()
        .context("cannot run sha256sum")?;
    ensure!(output.status.success(), "sha256sum failed");
    std::fs::write(folder.join(CHECKSUMS), output.stdout)?;
    Ok(())
}
