//! Opens the files that the broker writes besides its store: the log file and the pid_file. The broker opens them as
//! the configured user, not as root. It does not follow a symbolic link that another user may have created.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens the log for appending. Only the owner may read a new file (mode 0600, less the umask). An existing file keeps
/// its mode.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    open(path, &mut options, 0o600)
}

/// Creates or empties the file for the process number. Every user may read a new file (mode 0644, less the umask).
pub(super) fn create_pid_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    open(path, &mut options, 0o644)
}

/// Checks that the broker may write this file, or create it in its folder. The check does not open the file, because
/// opening a pipe would wait for its reader.
pub(super) fn check_writable(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use nix::unistd::AccessFlags;
        match std::fs::metadata(path) {
            Ok(data) if data.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => access(path, AccessFlags::W_OK),
            Err(_) => access(folder(path), AccessFlags::W_OK | AccessFlags::X_OK),
        }
    }
    #[cfg(not(unix))]
    {
        std::fs::metadata(folder(path)).map(drop)
    }
}

/// Checks that the broker may write this file, and that the file is not a symbolic link that another user may have
/// created.
pub(super) fn check_own_file(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
        if is_link && !is_trusted_link(path) {
            return Err(untrusted_link());
        }
    }
    check_writable(path)
}

#[cfg(unix)]
fn access(path: &Path, flags: nix::unistd::AccessFlags) -> io::Result<()> {
    nix::unistd::access(path, flags).map_err(Into::into)
}

/// Returns the folder of a file; `.` for a bare file name.
fn folder(path: &Path) -> &Path {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

#[cfg(unix)]
fn untrusted_link() -> io::Error {
    io::Error::other(
        "it is a symbolic link in a folder that other users than root can write (name the file itself)",
    )
}

#[cfg(unix)]
fn open(path: &Path, options: &mut OpenOptions, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode);
    // /dev/stdout and /dev/stderr are links, and brokers in containers log to them.
    if is_trusted_link(path) {
        return options.open(path);
    }
    // O_NOFOLLOW lets the system reject a link at the moment of opening. After a check in advance, another user could
    // still put a link there.
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(|error| {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
        if is_link { untrusted_link() } else { error }
    })
}

/// Returns `true` for a symbolic link in a folder that only root can write, such as /dev.
#[cfg(unix)]
fn is_trusted_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
    let data = std::fs::metadata(folder(path)).ok();
    is_link && data.is_some_and(|data| data.uid() == 0 && data.mode() & 0o022 == 0)
}

#[cfg(not(unix))]
fn open(path: &Path, options: &mut OpenOptions, _: u32) -> io::Result<File> {
    options.open(path)
}
