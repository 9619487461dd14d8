//! The Unix socket at which a broker answers `rbroker status`. Only the user of the broker can open the socket. Broker
//! and `status` compute the path of the socket with the functions of this module.

use std::path::PathBuf;

use mqtt_broker::{ControlSocket, Server};

#[cfg(unix)]
use crate::wording::system_text;

/// Lets the broker answer at its control socket. If the socket cannot be opened, the broker logs a warning and serves
/// its clients without the socket.
#[cfg(unix)]
pub(super) fn answer(server: &mut Server, socket: &ControlSocket) {
    let path = match socket {
        ControlSocket::None => return,
        ControlSocket::At(path) => path.clone(),
        ControlSocket::Default => {
            let port = server
                .addresses()
                .next()
                .map_or(0, |address| address.port());
            // The first folder that this user may write: a folder of the user if there is one, else /run, which only
            // root may write.
            let usable = |folder: &PathBuf| {
                nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
            };
            let Some(folder) = folders().into_iter().find(usable) else {
                return log::debug!(
                    target: mqtt_broker::EVENTS,
                    "'rbroker status' is not available: neither {OF_USER} nor {OF_ROOT} is writable (set control_socket)."
                );
            };
            folder.join(name(port))
        }
    };
    match server.answer_status(&path) {
        Ok(()) => {
            log::debug!(target: mqtt_broker::EVENTS, "Answering 'rbroker status' at {}.", path.display())
        }
        Err(error) => log::warn!(
            target: mqtt_broker::EVENTS,
            "'rbroker status' is not available: cannot listen on '{}': {}.",
            path.display(),
            system_text(&error)
        ),
    }
}

/// Does nothing: this system has no Unix sockets.
#[cfg(not(unix))]
pub(super) fn answer(_: &mut Server, _: &ControlSocket) {}

/// Returns the file name of the control socket of a broker at this port.
pub(super) fn name(port: u16) -> String {
    format!("rbroker-{port}.sock")
}

/// The variable with a folder that only this user can write. macOS and Android have no XDG_RUNTIME_DIR, but a folder
/// for the temporary files of each user.
#[cfg(unix)]
const OF_USER: &str = if cfg!(any(target_vendor = "apple", target_os = "android")) {
    "$TMPDIR"
} else {
    "$XDG_RUNTIME_DIR"
};

/// The folder for the sockets of root. Only Linux has /run.
#[cfg(unix)]
const OF_ROOT: &str = if cfg!(target_os = "linux") {
    "/run"
} else {
    "/var/run"
};

/// Returns the folders of control sockets: the folder of this user, and the folder of root. No other user can create a
/// socket in these folders, so no other user can pretend to be the broker.
#[cfg(unix)]
pub(super) fn folders() -> Vec<PathBuf> {
    let of_user = std::env::var_os(OF_USER.trim_start_matches('$')).map(PathBuf::from);
    // The value of TMPDIR may be a folder that every user can write, such as /tmp.
    let of_user = of_user.filter(|folder| OF_USER != "$TMPDIR" || is_private(folder));
    of_user.into_iter().chain([OF_ROOT.into()]).collect()
}

/// Returns no folder: this system has no Unix sockets.
#[cfg(not(unix))]
pub(super) fn folders() -> Vec<PathBuf> {
    Vec::new()
}

/// Returns `true` if only this user can write in the folder.
#[cfg(unix)]
fn is_private(folder: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let own = nix::unistd::geteuid().as_raw();
    std::fs::metadata(folder).is_ok_and(|data| data.uid() == own && data.mode() & 0o022 == 0)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_that_others_can_write_is_not_private() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, expected) in [
            (0o700, true),
            (0o755, true),
            (0o777, false),
            (0o1777, false),
        ] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path(), permissions).unwrap();
            assert_eq!(is_private(folder.path()), expected, "{mode:o}");
        }
        assert!(!is_private(&folder.path().join("missing")));
    }
}
