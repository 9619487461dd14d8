//! The broker as a process of the system: in the background, its number in a file, under another user.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::exit::Status;

/// Goes on in the background; the terminal gets its prompt back. Before any thread is started.
#[cfg(unix)]
pub(super) fn go_to_background() -> anyhow::Result<()> {
    let folder = std::env::current_dir().context("the current folder is gone")?;
    daemonize::Daemonize::new()
        .working_directory(folder) // paths of the configuration may begin there
        .start()
        .context("the broker cannot go to the background")
}

#[cfg(not(unix))]
pub(super) fn go_to_background() -> anyhow::Result<()> {
    anyhow::bail!("this system has no background for it; start it as a service")
}

/// While the store is opened, a panic means that the file is damaged in a way that its library does not
/// expect: that is told as such. Nothing else has been served yet.
pub(super) struct StoreCheck;

impl StoreCheck {
    pub(super) fn begin(path: PathBuf) -> Self {
        std::panic::set_hook(Box::new(move |_| {
            let path = path.display();
            eprintln!("Error: The broker cannot start: the store {path} is damaged.");
            std::process::exit(Status::Store.code().into());
        }));
        Self
    }
}

impl Drop for StoreCheck {
    fn drop(&mut self) {
        drop(std::panic::take_hook());
    }
}

/// A file with the number of the process, while it runs.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn write(path: &Path) -> anyhow::Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("cannot write the pid_file '{}'", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another user may not be allowed to; the number in it means nothing then.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// As many connections as the system allows at all, not as many as it gives to a shell: often 1024.
#[cfg(unix)]
pub(super) fn allow_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let nofile = Resource::RLIMIT_NOFILE;
    // What it refuses is met again, and told, when a connection cannot be accepted.
    if let Ok((soft, hard)) = getrlimit(nofile) {
        if soft < hard {
            let _ = setrlimit(nofile, hard, hard);
        }
    }
}

#[cfg(not(unix))]
pub(super) fn allow_many_files() {}

/// Becomes this user, if root has started it, and gives up root's rights for good.
#[cfg(unix)]
pub(super) fn become_user(name: &str) -> anyhow::Result<()> {
    if name == "root" || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    privdrop::PrivDrop::default()
        .user(name)
        .apply()
        .with_context(|| format!("cannot become the user '{name}' of the configuration"))
}

#[cfg(not(unix))]
pub(super) fn become_user(_: &str) -> anyhow::Result<()> {
    Ok(())
}

/// Tells systemd, if it has started the broker, that clients can come.
pub(super) fn tell_ready() {
    #[cfg(unix)]
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

/// Tells systemd that it ends.
pub(super) fn tell_stopping() {
    #[cfg(unix)]
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}
