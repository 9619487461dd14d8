//! `cargo xtask debian-check`: installs, uses, upgrades and purges the Debian packages. This happens in a small Debian
//! system below `target`, which debootstrap creates, so this machine is not changed. The task needs root.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{root, run as run_command, setup, target};

/// The Debian release of the tree.
const SUITE: &str = "bookworm";

/// Additional packages of the tree: dependencies of our packages, and programs that use the installed files.
const INCLUDED: &str = "adduser,bash-completion,man-db,systemd";

/// The highest accepted score of `systemd-analyze security`. A unit without any restriction has the score 10.
const HIGHEST_EXPOSURE: f64 = 1.5;

/// Folders in which the system creates files when packages are installed and removed. `Tree::files` ignores them.
const OF_SYSTEM: [&str; 6] = [
    "./etc",
    "./run",
    "./var/cache",
    "./var/lib/dpkg",
    "./var/log",
    "./proc",
];

pub(crate) fn run() -> Result<()> {
    let dist = target().join("dist");
    let version = env!("CARGO_PKG_VERSION");
    let main = format!("rpubsub_{version}_amd64.deb");
    let compat = format!("rpubsub-mosquitto-compat_{version}_all.deb");
    for package in [&main, &compat] {
        let package = dist.join(package);
        let is_there = package.is_file();
        ensure!(
            is_there,
            "{} is missing: run 'cargo xtask dist'",
            package.display()
        );
    }
    let tree = Tree::make()?;
    for package in [&main, &compat] {
        std::fs::copy(dist.join(package), tree.path.join("root").join(package))?;
    }
    let main = format!("/root/{main}");
    let compat = format!("/root/{compat}");
    let before = tree.files()?;

    tree.run(&["dpkg", "--install", &main])?;
    check_files(&tree)?;
    check_broker(&tree)?;
    println!("The same package again, as an upgrade …");
    let changed = tree.path.join("etc/rbroker/rbroker.conf");
    std::fs::write(&changed, std::fs::read_to_string(&changed)? + "# ours\n")?;
    tree.run(&["dpkg", "--install", "--force-confold", &main])?;
    let kept = std::fs::read_to_string(&changed)?;
    ensure!(
        kept.ends_with("# ours\n"),
        "the upgrade has replaced the configuration"
    );

    tree.run(&["dpkg", "--install", &compat])?;
    let help = tree.output(&["mosquitto_pub", "--version"])?;
    ensure!(help.contains(version), "mosquitto_pub is not rpub: {help}");
    tree.run(&["dpkg", "--purge", "rpubsub-mosquitto-compat"])?;

    tree.run(&["dpkg", "--remove", "rpubsub"])?;
    ensure!(
        changed.is_file(),
        "the removal has removed the configuration"
    );
    tree.run(&["dpkg", "--purge", "rpubsub"])?;
    let after = tree.files()?;
    let left: Vec<_> = after.difference(&before).collect();
    ensure!(left.is_empty(), "the purge has left {left:?}");
    let users = std::fs::read_to_string(tree.path.join("etc/passwd"))?;
    ensure!(!users.contains("rbroker"), "the purge has left the user");
    ensure!(
        !tree.path.join("etc/rbroker").exists(),
        "the purge has left /etc/rbroker"
    );
    println!("Installed, used, upgraded, removed and purged; nothing is left.");
    Ok(())
}

/// Checks the manual pages, the completions of bash and the systemd unit.
fn check_files(tree: &Tree) -> Result<()> {
    for page in [
        "rpub",
        "rsub",
        "rrr",
        "rbroker",
        "rbroker-passwd",
        "rbroker.conf",
    ] {
        let text = tree.output(&["man", page])?;
        ensure!(text.contains("DESCRIPTION"), "'man {page}' prints {text:?}");
    }
    let script =
        ". /usr/share/bash-completion/bash_completion; _completion_loader rpub; complete -p rpub";
    let completion = tree.output(&["bash", "-c", script])?;
    ensure!(completion.contains("_rpub"), "bash has {completion:?}");
    let unit = tree.path.join("lib/systemd/system/rbroker.service");
    let mut analyze = Command::new("systemd-analyze");
    let analyzed = analyze.args(["security", "--offline=true"]).arg(&unit);
    let output = analyzed.output().context("cannot run systemd-analyze")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let exposure = text.split("rbroker.service: ").nth(1);
    let exposure = exposure.and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
    let exposure = exposure.context("systemd-analyze gives no score")?;
    println!("systemd-analyze security: {exposure}");
    ensure!(
        exposure <= HIGHEST_EXPOSURE,
        "the unit is too exposed: {exposure}"
    );
    tree.run(&["systemd-analyze", "verify", "--man=no", "rbroker.service"])?;
    Ok(())
}

/// Checks that the user of the service can use the configuration, and that the installation has not enabled the
/// service.
fn check_broker(tree: &Tree) -> Result<()> {
    let folders = "install -d -o rbroker /run/rbroker /var/lib/rbroker";
    tree.run(&["sh", "-c", folders])?;
    let check = "rbroker --check-config -c /etc/rbroker/rbroker.conf";
    tree.run(&["su", "-s", "/bin/sh", "rbroker", "-c", check])?;
    // systemd creates and removes this folder with the service. The check has created it, so it must be removed here.
    tree.run(&["rm", "-r", "/run/rbroker"])?;
    let link = "etc/systemd/system/multi-user.target.wants/rbroker.service";
    if tree.path.join(link).exists() {
        bail!("the installation has enabled the service");
    }
    Ok(())
}

/// A folder with a small Debian system.
struct Tree {
    path: PathBuf,
}

impl Tree {
    /// Creates the tree as a copy of `debian/pristine`. debootstrap creates this original only once, because that is
    /// slow.
    fn make() -> Result<Self> {
        if !setup::has("debootstrap") {
            setup::install(&["debootstrap"]);
        }
        let pristine = target().join("debian/pristine");
        if !pristine.join("usr/bin/man").exists() {
            println!("Making a tree of Debian in {} …", pristine.display());
            std::fs::create_dir_all(&pristine)?;
            let mut command = Command::new("debootstrap");
            command.args(["--variant=minbase", "--include", INCLUDED, SUITE]);
            run_command(command.arg(&pristine))?;
        }
        let path = target().join("debian/tree");
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        run_command(Command::new("cp").arg("-a").arg(&pristine).arg(&path))?;
        Ok(Self { path })
    }

    /// Runs a command in the tree.
    fn run(&self, words: &[&str]) -> Result<()> {
        println!("# {}", words.join(" "));
        run_command(&mut self.command(words))
    }

    /// Runs a command in the tree. Returns its standard output.
    fn output(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words).output();
        let output = output.with_context(|| format!("cannot run {words:?}"))?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?} failed: {errors}");
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.path).args(words).current_dir(root());
        // The environment of this machine must not reach the tree, which has no other locales and whose programs are in
        // other folders.
        command.env_clear().env("LC_ALL", "C.UTF-8");
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// Returns all files of the tree, except those in [`OF_SYSTEM`].
    fn files(&self) -> Result<BTreeSet<String>> {
        let output = Command::new("find")
            .arg(".")
            .current_dir(&self.path)
            .output();
        let output = output.context("cannot run find")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let is_ours = |line: &&str| {
            let of_system = |folder: &&str| Path::new(line).starts_with(folder);
            !OF_SYSTEM.iter().any(of_system)
        };
        Ok(text.lines().filter(is_ours).map(String::from).collect())
    }
}
