//! The Unix socket at which a broker answers `rbroker status`. Only its own user can open it. The place of the socket is
//! decided here for both sides.

use std::path::PathBuf;

use mqtt_broker::{ControlSocket, EVENTS, Server};

use crate::wording::system_text;

/// Lets the broker answer at its socket. If that fails, the broker serves without it: a status is worth less than the
/// clients.
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
            // The first folder that this user may write: root has /run, others have $XDG_RUNTIME_DIR.
            let usable = |folder: &PathBuf| {
                nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok()
            };
            let Some(folder) = folders().into_iter().find(usable) else {
                return log::debug!(
                    target: EVENTS,
                    "'rbroker status' is not available: neither $XDG_RUNTIME_DIR nor /run is writable (set control_socket)."
                );
            };
            folder.join(name(port))
        }
    };
    match server.answer_status(&path) {
        Ok(()) => {
            log::debug!(target: EVENTS, "Answering 'rbroker status' at {}.", path.display())
        }
        Err(error) => log::warn!(
            target: EVENTS,
            "'rbroker status' is not available: cannot listen on '{}': {}.",
            path.display(),
            system_text(&error)
        ),
    }
}

/// Does nothing: this system has no Unix sockets.
#[cfg(not(unix))]
pub(super) fn answer(_: &mut Server, _: &ControlSocket) {}

/// Returns the name of the socket of a broker at this port.
pub(super) fn name(port: u16) -> String {
    format!("rbroker-{port}.sock")
}

/// Returns the folders of control sockets: that of this user and that of root. Other users cannot create a socket there,
/// so none can pretend to be the broker.
pub(super) fn folders() -> Vec<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    of_user.into_iter().chain(["/run".into()]).collect()
}
