//! The Unix socket at which a broker answers `rbroker status`. Only the user of the broker can open the socket. Broker
//! and `status` compute the path of the socket with the functions of this module.

use std::path::PathBuf;

use mqtt_broker::{ControlSocket, EVENTS, Server};

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
            // The first folder that this user may write: $XDG_RUNTIME_DIR if it is set, else /run, which only root may
            // write.
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

/// Returns the file name of the control socket of a broker at this port.
pub(super) fn name(port: u16) -> String {
    format!("rbroker-{port}.sock")
}

/// Returns the folders of control sockets: $XDG_RUNTIME_DIR of this user, and /run for root. No other user can create a
/// socket in these folders, so no other user can pretend to be the broker.
pub(super) fn folders() -> Vec<PathBuf> {
    let of_user = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    of_user.into_iter().chain(["/run".into()]).collect()
}
