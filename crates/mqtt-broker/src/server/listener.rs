//! Opens the sockets of the listeners: finds the addresses of a `listener` line, and binds a socket at each of them.
//! `listener_policy.rs` decides which clients are admitted.

use super::error::{ListenError, ServerError};
use crate::config::model::ListenerConfig;
use mqtt_broker_core::EVENTS;
use mqtt_transport::{Listener, ListenerTransport, TlsServer, TlsServerOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

/// Timeout for the look-up of a host name in a `listener` line.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// An open listener.
#[derive(Debug)]
pub(crate) struct BoundListener {
    pub(crate) listener: Listener,
    /// The address, for log lines.
    pub(crate) name: String,
    /// The socket address. `None` for a Unix socket.
    pub(crate) address: Option<SocketAddr>,
    /// The configuration of the listener. `None` for a listener that the server opens without a configuration.
    pub(crate) config: Option<ListenerConfig>,
    /// The number of earlier listeners in the configuration with the same host and port. Several
    /// listeners may have the same host and port 0. A reload uses this number to find the listener that a line of the
    /// new configuration belongs to.
    pub(crate) rank: usize,
}

impl BoundListener {
    /// Returns `true` if only programs on this machine can reach the listener: at a loopback address or a Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        self.address
            .is_none_or(|address| address.ip().is_loopback())
    }
}

/// Returns the addresses of a `listener` line: those of its host, or the unspecified addresses, which accept
/// connections at all addresses of this machine.
///
/// # Errors
/// Returns an error if the host has no address, or none of the address family of `socket_domain`.
fn hosts(listener: &ListenerConfig) -> Result<Vec<IpAddr>, ListenError> {
    if let Some(address) = listener.address() {
        return Ok(vec![address]);
    }
    let is_wanted = |address: &IpAddr| {
        let only_ipv4 = listener.only_ipv4;
        only_ipv4.is_none_or(|only_ipv4| address.is_ipv4() == only_ipv4)
    };
    let Some(host) = &listener.host else {
        let all = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        return Ok(all.into_iter().filter(is_wanted).collect());
    };
    let found = mqtt_transport::resolve(host, listener.port, LOOK_UP_TIMEOUT);
    let found = found.map_err(|error| ListenError::look_up(host, error))?;
    let addresses = found.iter().map(SocketAddr::ip);
    // An empty list would open no listener, and the broker would start without serving anybody.
    let addresses: Vec<_> = addresses.filter(is_wanted).collect();
    if addresses.is_empty() {
        let error =
            io::Error::other("the host has no address of the family that 'socket_domain' names");
        return Err(ListenError::look_up(host, error));
    }
    Ok(addresses)
}

/// Binds the addresses, or the Unix socket path, of a `listener` line.
///
/// # Errors
/// Returns an error if an address or the path cannot be bound.
pub(crate) fn bind_listener(listener: &ListenerConfig) -> Result<Vec<Listener>, ListenError> {
    Ok(match listener.unix_path() {
        #[cfg(unix)]
        Some(path) => {
            let bound = Listener::bind_unix(path);
            vec![bound.map_err(|error| ListenError::new(path.display(), error))?]
        }
        #[cfg(not(unix))]
        Some(path) => {
            let error = io::ErrorKind::Unsupported.into();
            return Err(ListenError::new(path.display(), error));
        }
        None => listen(&hosts(listener)?, listener.port)?,
    })
}

/// Checks that the addresses of a `listener` line, or the folder of its Unix socket, exist on this machine. Does not
/// bind the port of the listener, so that the check also succeeds while a broker serves at this port.
///
/// # Errors
/// Returns an error if an address or a folder does not exist. A port that is in use is not an error.
pub(crate) fn check_listener(listener: &ListenerConfig) -> Result<(), ListenError> {
    if let Some(path) = listener.unix_path() {
        // The socket may exist, because a broker serves at it. So only its folder is checked.
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = std::fs::metadata(folder.unwrap_or_else(|| Path::new(".")));
        let error = |error| ListenError::new(path.display(), error);
        folder.map_err(error)?;
        #[cfg(unix)]
        mqtt_transport::check_socket_path(path).map_err(error)?;
        return Ok(());
    }
    // Binding a UDP socket with port 0 fails if the address is not one of this machine, and needs no free TCP port.
    let bind = |host: &IpAddr| {
        let error = |error| ListenError::new(SocketAddr::new(*host, listener.port), error);
        UdpSocket::bind((*host, 0)).map_err(error)
    };
    each_host(&hosts(listener)?, bind).map(drop)
}

/// Returns the transport of a listener: TLS and WebSocket, as configured.
///
/// # Errors
/// Returns an error if a file of TLS cannot be used.
pub(crate) fn listener_transport(
    listener: &ListenerConfig,
) -> Result<ListenerTransport, ServerError> {
    let mut transport = ListenerTransport::default();
    if let Some(options) = &listener.tls {
        // If the user name comes from the certificate, the server must request a certificate in the handshake.
        let options = TlsServerOptions {
            identifies_clients: listener.identity.is_some(),
            ..options.clone()
        };
        let tls = TlsServer::new(&options).map_err(ServerError::Tls)?;
        for warning in tls.warnings() {
            log::warn!(target: EVENTS, "Warning: {warning}.");
        }
        transport = transport.with_tls(tls);
    }
    if listener.websocket {
        transport = transport.with_websocket(listener.origins.clone());
    }
    Ok(transport)
}

/// Binds a socket at each of these addresses. With port 0, the system chooses a free port for the first address, and
/// the other addresses use the same port.
pub(crate) fn listen(hosts: &[IpAddr], port: u16) -> Result<Vec<Listener>, ListenError> {
    let mut port = port;
    each_host(hosts, |host| {
        let address = SocketAddr::new(*host, port);
        let bound = Listener::bind(address).and_then(|listener| {
            port = listener.local_address()?.map_or(port, |bound| bound.port());
            Ok(listener)
        });
        bound.map_err(|error| ListenError::new(address, error))
    })
}

/// Calls `use_host` with each address, and returns the results. An address family that this machine does not support is
/// ignored if at least one address succeeds.
fn each_host<T>(
    hosts: &[IpAddr],
    mut use_host: impl FnMut(&IpAddr) -> Result<T, ListenError>,
) -> Result<Vec<T>, ListenError> {
    let mut used = Vec::new();
    let mut missing = None;
    // Many machines have no IPv6. So the error of a missing address family is returned only if no address succeeds.
    for host in hosts {
        match use_host(host) {
            Ok(one) => used.push(one),
            Err(error) if hosts.len() > 1 && is_missing_family(&error.error) => {
                missing = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    match missing {
        Some(error) if used.is_empty() => Err(error),
        _ => Ok(used),
    }
}

/// Returns `true` if this machine does not support the address family, or does not have the address. Without IPv6, Linux
/// reports the second error for `::1`.
fn is_missing_family(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    const EAFNOSUPPORT: i32 = 97; // the value on Linux; `ErrorKind` has no variant for this error
    matches!(error.kind(), AddrNotAvailable | Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}
