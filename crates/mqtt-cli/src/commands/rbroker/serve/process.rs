//! The broker as a process of the system: in the background (`-d`), with its number in a file, as another user, and
//! supervised by systemd.

#[cfg(unix)]
use std::fs::File;
use std::io;
#[cfg(unix)]
use std::io::Read;
use std::io::Write;
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
#[cfg(unix)]
use std::time::Duration;

use anyhow::Context;
#[cfg(unix)]
use daemonize::Outcome;
#[cfg(unix)]
use mqtt_broker::Report;
use mqtt_broker::Server;
#[cfg(unix)]
use sd_notify::NotifyState;

use super::files;
use super::start_error::{self, START};
use crate::exit_status::Status;

/// A broker that runs in the background. The parent process waits for the result of the start, so that the shell sees
/// the exit status. Until the start has succeeded, the broker prints errors to the terminal.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Background(UnixStream);

#[cfg(unix)]
impl Background {
    /// The maximum time of the start. A large store takes long to read.
    const PATIENCE: Duration = Duration::from_secs(600);

    /// Forks. The parent process waits for `end_start` of the child and exits with its status. The caller must not have
    /// started a thread, because a fork copies only the calling thread.
    pub(super) fn begin() -> anyhow::Result<Self> {
        let folder = std::env::current_dir().context("cannot determine the current folder")?;
        let (waiting, telling) = UnixStream::pair().context("cannot create a socket")?;
        let daemon = daemonize::Daemonize::new()
            // Daemons usually change to `/`. Relative paths in the configuration refer to the present folder.
            .working_directory(folder)
            .stdout(daemonize::Stdio::keep())
            .stderr(daemonize::Stdio::keep());
        match daemon.execute() {
            Outcome::Parent(Ok(_)) => {
                // The parent closes its copy of the child's end. Otherwise it would not notice that the child has died.
                drop(telling);
                std::process::exit(Self::wait(waiting).into());
            }
            Outcome::Child(Ok(_)) => Ok(Self(telling)),
            Outcome::Parent(Err(error)) | Outcome::Child(Err(error)) => {
                Err(error).context("cannot run in the background")
            }
        }
    }

    /// Returns the status of the start, or 1 if the child ended without sending one.
    fn wait(mut waiting: UnixStream) -> u8 {
        let mut status = [Status::Failed.code()];
        let _ = waiting.set_read_timeout(Some(Self::PATIENCE));
        let _ = waiting.read_exact(&mut status);
        status[0]
    }

    /// Sends the result of the start to the parent. After a successful start the broker prints nothing more.
    pub(super) fn end_start(mut self, status: Status) -> io::Result<()> {
        self.0.write_all(&[status.code()])?;
        if status == Status::Success {
            // Standard output and error become /dev/null. If they were closed, the next file that is opened would get
            // their numbers, and output would go to this file.
            let nowhere = File::options().write(true).open("/dev/null")?;
            nix::unistd::dup2_stdout(&nowhere)?;
            nix::unistd::dup2_stderr(&nowhere)?;
        }
        Ok(())
    }
}

/// A broker that the service manager of Windows runs in the background.
#[cfg(windows)]
pub(super) struct Background(Box<dyn FnOnce()>);

#[cfg(windows)]
impl Background {
    pub(super) fn begin() -> anyhow::Result<Self> {
        anyhow::bail!(
            "-d is not supported on Windows: install a service with 'rbroker service install'"
        )
    }

    /// Returns the broker of a service. It calls `ready` when the start has succeeded.
    pub(super) fn of_service(ready: impl FnOnce() + 'static) -> Self {
        Self(Box::new(ready))
    }

    /// Reports a successful start. The service itself reports a failure.
    pub(super) fn end_start(self, status: Status) -> io::Result<()> {
        if status == Status::Success {
            self.0();
        }
        Ok(())
    }
}

/// Reports a panic as a corrupt store while the store is opened. redb panics on some kinds of corruption, and the user
/// must learn what to do. The caller removes the hook after `Server::open`, so that a later panic is not reported as a
/// corrupt store.
pub(super) struct StoreCheck;

impl StoreCheck {
    pub(super) fn begin(path: PathBuf) -> Self {
        std::panic::set_hook(Box::new(move |_| {
            eprintln!("Error: {START}: the store '{}' is corrupt.", path.display());
            let hint = start_error::move_away(&path);
            hint.iter().for_each(|hint| eprintln!("{hint}"));
            // The process ends here, because the text of the panic would not help the user.
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

/// The file with the number of the process, which is removed when the value is dropped.
#[derive(Debug)]
pub(super) struct PidFile(PathBuf);

impl PidFile {
    pub(super) fn write(path: &Path) -> anyhow::Result<Self> {
        let number = format!("{}\n", std::process::id());
        let file = files::create_pid_file(path);
        file.and_then(|mut file| file.write_all(number.as_bytes()))
            .with_context(|| format!("cannot write the pid_file '{}'", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // The configured user may not have the permission to remove the file. The error is ignored. A file that stays
        // has the number of a process that no longer exists.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// `OPEN_MAX` of macOS, the number of open files that each process may have.
#[cfg(unix)]
const OPEN_MAX: nix::sys::resource::rlim_t = 10_240;

/// Raises the limit of open files to the maximum. Shells often set 1024, and each connection needs a file descriptor.
#[cfg(unix)]
pub(super) fn allow_many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let nofile = Resource::RLIMIT_NOFILE;
    // An error here is ignored. If descriptors run out later, the broker logs that.
    if let Ok((soft, hard)) = getrlimit(nofile) {
        // macOS rejects limits above `OPEN_MAX`, even if the hard limit is higher or infinite.
        if soft < hard && setrlimit(nofile, hard, hard).is_err() {
            let _ = setrlimit(nofile, soft.max(OPEN_MAX.min(hard)), hard);
        }
    }
}

#[cfg(not(unix))]
pub(super) fn allow_many_files() {}

/// Switches to the user of the configuration, if root has started the broker, and gives up the permissions of root for
/// good. The user also becomes the owner of the Unix sockets that root has opened, so that members of the user's group
/// can connect.
///
/// # Errors
/// If the user does not exist, or the system rejects the switch.
#[cfg(unix)]
pub(super) fn become_user<'a>(
    name: Option<&str>,
    mut sockets: impl Iterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    // Only root can switch to another user.
    if name == Some("root") || !nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    let Some(name) = name else {
        log::warn!(
            target: mqtt_broker::EVENTS,
            "The broker runs as root. Set 'user NAME' in the configuration to run it without the rights of root."
        );
        return Ok(());
    };
    let user = nix::unistd::User::from_name(name);
    // If the lookup itself fails, `privdrop` below reports the error.
    if let Ok(None) = user {
        anyhow::bail!("there is no user '{name}' on this machine");
    }
    if let Ok(Some(user)) = user {
        let (user_id, group_id) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        sockets
            .try_for_each(|path| std::os::unix::fs::chown(path, user_id, group_id))
            .with_context(|| {
                format!("cannot make the user '{name}' the owner of the Unix sockets")
            })?;
    }
    privdrop::PrivDrop::default()
        .user(name)
        .apply()
        .with_context(|| format!("cannot switch to the user '{name}'"))
}

#[cfg(not(unix))]
pub(super) fn become_user<'a>(
    _: Option<&str>,
    _: impl Iterator<Item = &'a Path>,
) -> anyhow::Result<()> {
    Ok(())
}

/// Reports to systemd that clients can connect. Without systemd this has no effect.
pub(super) fn tell_ready() {
    #[cfg(unix)]
    let _ = sd_notify::notify(&[NotifyState::Ready]);
}

/// Registers a function that reports to systemd: the begin and end of a reload, the end of the broker and, if the unit
/// has `WatchdogSec`, that the event loop is running. Without systemd the function has no effect.
pub(super) fn report_to_systemd(server: &mut Server) {
    #[cfg(unix)]
    {
        // systemd recommends half of the timeout. A report that is slightly late then does not make systemd kill the
        // broker.
        let interval = sd_notify::watchdog_enabled().map(|timeout| timeout / 2);
        server.report_to(interval, |report| {
            let states = match report {
                Report::Reloading => reloading(),
                Report::Ready => vec![NotifyState::Ready],
                Report::Alive => vec![NotifyState::Watchdog],
                Report::Stopping => vec![NotifyState::Stopping],
                _ => return,
            };
            let _ = sd_notify::notify(&states);
        });
    }
    #[cfg(not(unix))]
    let _ = server;
}

/// Returns the states for the begin of a reload. A unit with `Type=notify-reload` also needs the monotonic time of the
/// begin.
#[cfg(unix)]
fn reloading() -> Vec<NotifyState<'static>> {
    let time = NotifyState::monotonic_usec_now().ok();
    std::iter::once(NotifyState::Reloading)
        .chain(time)
        .collect()
}
