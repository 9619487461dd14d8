//! Collects the files of a release: programs, manual pages, completions, documents and licences. The folders have the
//! layout of `/usr/local`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::crates;
use super::targets::Target;
use crate::{cargo, root, run, target};

/// The names of all programs.
pub(crate) const PROGRAMS: [&str; 4] = ["rpub", "rsub", "rrr", "rbroker"];

/// Each manual page: the program, the arguments that print the page, and the file below `share/man`.
const PAGES: [(&str, &[&str], &str); 7] = [
    ("rpub", &["man"], "man1/rpub.1"),
    ("rsub", &["man"], "man1/rsub.1"),
    ("rrr", &["man"], "man1/rrr.1"),
    ("rbroker", &["man"], "man1/rbroker.1"),
    ("rbroker", &["man", "passwd"], "man1/rbroker-passwd.1"),
    ("rbroker", &["man", "status"], "man1/rbroker-status.1"),
    ("rbroker", &["man", "conf"], "man5/rbroker.conf.5"),
];

/// Each shell: its name, the folder below `share` in which it searches for completions, and the pattern of the file
/// names.
const SHELLS: [(&str, &str, &str); 4] = [
    ("bash", "bash-completion/completions", "PROGRAM"),
    ("zsh", "zsh/site-functions", "_PROGRAM"),
    ("fish", "fish/vendor_completions.d", "PROGRAM.fish"),
    // PowerShell searches no folder. Users load this file in their profile.
    ("powershell", "powershell/completions", "PROGRAM.ps1"),
];

/// Documents that are copied from the root of the repository.
const DOCUMENTS: [&str; 4] = ["CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

/// Fills a folder with the files of a release. The programs must be built before.
pub(crate) fn fill(folder: &Path, platform: &Target, profile: &str) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    let programs = folder.join("bin");
    std::fs::create_dir_all(&programs)?;
    for name in PROGRAMS {
        let file = platform.program(name);
        let built = platform.build_folder(profile).join(&file);
        std::fs::copy(&built, programs.join(&file))
            .with_context(|| format!("cannot copy {}", built.display()))?;
    }
    write_pages(&folder.join("share"))?;
    let documents = folder.join("share/doc/rpubsub");
    std::fs::create_dir_all(&documents)?;
    for name in DOCUMENTS {
        std::fs::copy(root().join(name), documents.join(name))?;
    }
    for entry in std::fs::read_dir(root().join("docs"))? {
        let path = entry?.path();
        if let (Some("md"), Some(name)) =
            (path.extension().and_then(|e| e.to_str()), path.file_name())
        {
            let copy = documents.join("docs").join(name);
            std::fs::create_dir_all(copy.parent().context("it has a folder")?)?;
            std::fs::copy(&path, copy)?;
        }
    }
    let crates = crates::linked(platform)?;
    std::fs::write(
        documents.join("sbom.cdx.json"),
        crates::bill_of_materials(&crates)?,
    )?;
    std::fs::write(
        documents.join("THIRD-PARTY-LICENSES.txt"),
        crates::licenses(&crates)?,
    )?;
    Ok(())
}

/// Writes manual pages and completions below `share`. The programs of this machine print them: the pages are the same
/// on every platform, and programs of another platform may not run here.
pub(crate) fn write_pages(share: &Path) -> Result<()> {
    run(&mut cargo(
        "build --quiet --locked --package mqtt-cli --bins",
    ))?;
    for (program, words, file) in PAGES {
        write_printed(&share.join("man").join(file), program, words)?;
    }
    for (shell, folder, form) in SHELLS {
        for program in PROGRAMS {
            let file = share.join(folder).join(form.replace("PROGRAM", program));
            write_printed(&file, program, &["completions", shell])?;
        }
    }
    Ok(())
}

/// Writes the output of a program to a file.
fn write_printed(file: &Path, program: &str, words: &[&str]) -> Result<()> {
    let mut command = Command::new(target().join("debug").join(program));
    let output = command
        .args(words)
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed");
    std::fs::create_dir_all(file.parent().context("it has a folder")?)?;
    std::fs::write(file, output.stdout)?;
    Ok(())
}
