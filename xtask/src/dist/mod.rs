//! `cargo xtask dist`: builds releases into `target/dist`, as one archive for each platform and a list of checksums.
//!
//! `targets.rs` lists the platforms, `build.rs` compiles the programs, `contents.rs` and `crates.rs` collect the other
//! files, and `archive.rs` packs them. Nothing is published.

mod archive;
pub(crate) mod build;
pub(crate) mod contents;
mod crates;
mod deb;
pub(crate) mod targets;

use anyhow::{Result, bail};

use crate::target;
use contents::PROGRAMS;
use targets::{TARGETS, Target};

/// The cargo profile of releases.
pub(crate) const RELEASE: &str = "release";

/// The cargo profile of `--trial`, which compiles faster.
pub(crate) const TRIAL: &str = "trial";

pub(crate) fn run(options: &[&str]) -> Result<()> {
    let (platforms, profile) = parse(options)?;
    let dist = target().join("dist");
    for platform in &platforms {
        build::build(platform, profile)?;
        let version = env!("CARGO_PKG_VERSION");
        let folder = dist.join(format!("rpubsub-{version}-{}", platform.name));
        contents::fill(&folder, platform, profile)?;
        let archive = archive::pack(&folder, platform)?;
        for name in PROGRAMS {
            let size = folder.join("bin").join(platform.program(name)).metadata()?;
            println!("{:>12} {name}", size.len());
        }
        let mut files = vec![archive];
        if let Some(architecture) = platform.debian {
            files.extend(deb::build(&folder, architecture)?);
        }
        for file in files {
            println!("{:>12} {}", file.metadata()?.len(), file.display());
        }
    }
    archive::write_checksums(&dist)
}

/// Returns the platforms and the profile that the options select.
fn parse(options: &[&str]) -> Result<(Vec<Target>, &'static str)> {
    let mut platforms = Vec::new();
    let mut profile = RELEASE;
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match (*option, rest.len()) {
            ("--target", 1..) => platforms.extend(rest.next().map(|name| Target::find(name))),
            ("--all", _) => platforms.extend(TARGETS.map(Ok)),
            ("--trial", _) => profile = TRIAL,
            _ => bail!("dist has --target NAME, --all and --trial"),
        }
    }
    let mut platforms: Vec<_> = platforms.into_iter().collect::<Result<_>>()?;
    if platforms.is_empty() {
        platforms.push(Target::find("x86_64-unknown-linux-gnu")?);
    }
    Ok((platforms, profile))
}
