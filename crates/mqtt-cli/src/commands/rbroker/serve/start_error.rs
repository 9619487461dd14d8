//! The errors of a broker that cannot start, and of a configuration that `--check-config` rejects. Each error names the
//! operation that failed, the line of the configuration, and what the user can do.

use std::io::ErrorKind;
use std::path::Path;

use mqtt_broker::{AccessError, AccessFile, ListenError, Places, ServerError, StoreError};
use mqtt_transport::TlsSetupError;

use crate::exit_status::Status;
use crate::failure::Failure;
use crate::wording::quoted;

/// The first words of an error at the start.
pub(super) const START: &str = "The broker cannot start";

/// The first words of an error of `--check-config`, which starts nothing.
pub(super) const CHECK: &str = "The configuration is invalid";

/// Returns the failure for an error of the server. `subject` is [`START`] or [`CHECK`].
pub(super) fn failure(subject: &str, error: &ServerError, places: &Places) -> Failure {
    let failure = Failure::failed(format!("{subject}: {error}.")).with_status(status(error));
    let failure = match error.place(places) {
        Some(place) => failure.at(place),
        None => failure,
    };
    match hint(error) {
        Some(hint) => failure.with_hint(hint),
        None => failure,
    }
}

/// Returns the exit status of an error.
fn status(error: &ServerError) -> Status {
    match error {
        // mosquitto exits with 13 if it cannot open a password file or ACL file, and with 3 if the content is invalid.
        ServerError::Access(AccessError::Read(..)) => Status::AccessFile,
        ServerError::Access(_) | ServerError::Tls(_) => Status::Configuration,
        ServerError::CorruptStore(..) => Status::Store,
        ServerError::Store(error) if error.is_about_the_file() => Status::Store,
        _ => Status::Failed,
    }
}

/// Returns a sentence that says what the user can do, if that is known.
fn hint(error: &ServerError) -> Option<String> {
    match error {
        ServerError::Listen(error) => of_listener(error),
        ServerError::Access(AccessError::Read(AccessFile::Passwords, path, error))
            if error.kind() == ErrorKind::NotFound =>
        {
            let path = quoted(path);
            Some(format!(
                "Create a password file: rbroker passwd -c {path} USER"
            ))
        }
        ServerError::Access(AccessError::Read(AccessFile::AccessList, _, error))
            if error.kind() == ErrorKind::NotFound =>
        {
            Some(
                "Create the file, or remove the line 'acl_file' from the configuration.".to_owned(),
            )
        }
        ServerError::Access(AccessError::Read(_, _, error))
        | ServerError::Tls(TlsSetupError::Read(_, error))
            if error.kind() == ErrorKind::PermissionDenied =>
        {
            Some("The user that starts rbroker must be able to read the file.".to_owned())
        }
        ServerError::Store(error @ StoreError::Open(path, _)) => {
            // The lock does not show which process has it. `fuser` shows the process; Windows has no such command.
            if error.is_in_use() && cfg!(windows) {
                return None;
            }
            if error.is_in_use() {
                let path = quoted(path);
                return Some(format!("This command shows the program: fuser -v {path}"));
            }
            if error.is_about_the_file() {
                move_away(path)
            } else {
                missing_folder(path)
            }
        }
        ServerError::CorruptStore(path, _) => move_away(path),
        _ => None,
    }
}

/// Returns the failure for an error that is not a `ServerError`. `place` is the line of the directive that causes it.
pub(super) fn other(error: &anyhow::Error, place: Option<String>) -> Failure {
    let failure = Failure::failed(format!("{START}: {error:#}."));
    match place {
        Some(place) => failure.at(place),
        None => failure,
    }
}

/// Returns the hint for a store that cannot be used.
pub(super) fn move_away(path: &Path) -> Option<String> {
    let path = path.display();
    Some(format!(
        "Restore '{path}' from a backup, or move it away to start with an empty store."
    ))
}

/// Returns the hint for a file whose folder is missing.
pub(super) fn missing_folder(path: &Path) -> Option<String> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())?;
    // If the folder exists, the file is missing, and the hint would be wrong.
    let folder = (!folder.exists()).then(|| quoted(folder))?;
    Some(format!("Create the folder: mkdir -p {folder}"))
}

/// Returns the hint for a listener that cannot be opened.
fn of_listener(error: &ListenError) -> Option<String> {
    if error.is_look_up {
        return Some(
            "A listener needs a host or an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all addresses."
                .to_owned(),
        );
    }
    // An address without a port is the path of a Unix socket.
    let address = error.address.as_str();
    let port = address.rsplit_once(':').map(|(_, port)| port);
    let port = port.and_then(|port| port.parse::<u16>().ok());
    match (error.error.kind(), port) {
        (ErrorKind::AddrInUse, Some(port)) => Some(format!(
            "Another broker, such as a mosquitto service, may be running. This command shows the program: {}",
            command_for_users_of(port)
        )),
        (ErrorKind::AddrInUse, None) => Some(
            "Another program listens on this socket. This command shows it: ss -lxp".to_owned(),
        ),
        (ErrorKind::PermissionDenied, Some(port @ 1..1024)) => Some(format!(
            "Port {port} is below 1024 and needs root or the capability CAP_NET_BIND_SERVICE."
        )),
        (ErrorKind::AddrNotAvailable, _) => Some(
            "The address must be one of this machine, or 0.0.0.0 for all addresses.".to_owned(),
        ),
        (ErrorKind::NotFound, None) => missing_folder(Path::new(address)),
        _ => None,
    }
}

/// Returns the command that shows which program listens on a port.
fn command_for_users_of(port: u16) -> String {
    // Linux, Windows and other systems have different commands for this.
    if cfg!(target_os = "linux") {
        format!("ss -ltnp 'sport = :{port}'")
    } else if cfg!(windows) {
        format!("netstat -ano -p TCP | findstr :{port}")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// Runs without opening a port: on some machines ports below 1024 need no permission, and root has it everywhere.
    #[test]
    #[cfg(unix)]
    fn explains_an_error_of_a_listener_by_its_cause() {
        let mut error = {
            let settings = mqtt_broker::BrokerConfig::parse(
                Path::new("c"),
                b"listener 1883 no.such.host.invalid",
            );
            let ServerError::Listen(error) = mqtt_broker::check(&settings.unwrap()).unwrap_err()
            else {
                panic!("the host has no address");
            };
            error
        };
        assert!(error.is_look_up);
        let hint = of_listener(&error).unwrap();
        assert!(hint.starts_with("A listener needs a host"), "{hint}");
        error.is_look_up = false;
        for (kind, address, expected) in [
            (
                ErrorKind::AddrInUse,
                "[::1]:1883",
                Some("Another broker, such as a mosquitto service"),
            ),
            (
                ErrorKind::AddrInUse,
                "/run/socket",
                Some("Another program listens on this socket."),
            ),
            (
                ErrorKind::PermissionDenied,
                "0.0.0.0:883",
                Some("Port 883 is below 1024 and needs root"),
            ),
            (ErrorKind::PermissionDenied, "0.0.0.0:1883", None),
            (ErrorKind::PermissionDenied, "/run/socket", None),
            (
                ErrorKind::AddrNotAvailable,
                "192.0.2.1:1883",
                Some("The address must be one of this machine"),
            ),
            (
                ErrorKind::NotFound,
                "/no/such/socket",
                Some("Create the folder: mkdir -p '/no/such'"),
            ),
            (ErrorKind::OutOfMemory, "0.0.0.0:1883", None),
        ] {
            error.error = io::Error::from(kind);
            error.address = address.to_owned();
            let hint = of_listener(&error);
            let is_same = match (&hint, expected) {
                (Some(hint), Some(expected)) => hint.starts_with(expected),
                (hint, expected) => hint.is_none() && expected.is_none(),
            };
            assert!(is_same, "{kind:?} {address}: {hint:?}");
        }
    }
}
