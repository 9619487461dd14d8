//! Opens the files that the broker writes beside its store: its log and its process number. They are opened as the user
//! who serves, never as root for a user, and a symbolic link that somebody else may have put there is not followed.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Opens the log for appending. A new one is for its owner only, within what umask says; an old one keeps its mode.
pub(super) fn open_log(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.append(true).create(true);
    open(path, &mut options, 0o600)
}

/// Creates a file for the process number, which everybody may read within what umask says, or empties an old one.
pub(super) fn create_pid_file(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    open(path, &mut options, 0o644)
}

#[cfg(unix)]
fn open(path: &Path, options: &mut OpenOptions, mode: u32) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(mode);
    if is_trusted_link(path) {
        return options.open(path);
    }
    // Refused by the system, not looked at before: nobody can put a link there in between.
    options.custom_flags(nix::fcntl::OFlag::O_NOFOLLOW.bits());
    options.open(path).map_err(|error| {
        let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
        match is_link {
            true => io::Error::other(
                "it is a symbolic link, which is followed only in a folder that nobody but root may write",
            ),
            false => error,
        }
    })
}

/// Returns `true` for a link that only root can have made, such as /dev/stdout.
#[cfg(unix)]
fn is_trusted_link(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let is_link = std::fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
    let folder = path.parent().map(|folder| match folder.as_os_str() {
        folder if folder.is_empty() => Path::new("."),
        folder => Path::new(folder),
    });
    let data = folder.and_then(|folder| std::fs::metadata(folder).ok());
    is_link && data.is_some_and(|data| data.uid() == 0 && data.mode() & 0o022 == 0)
}

#[cfg(not(unix))]
fn open(path: &Path, options: &mut OpenOptions, _: u32) -> io::Result<File> {
    options.open(path)
}
