//! The addresses that a `listener` line means, and the sockets that listen there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use mqtt_broker_core::EVENTS;
use mqtt_transport::{Listener, ListenerTransport, TlsServer, TlsServerOptions};

use crate::server::ListenError;
use crate::{ListenerConfig, ServerError};

/// Timeout of the look-up of a host that a listener names.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the addresses that a `listener` line names: all of this machine, or those of a host.
///
/// # Errors
/// If the host has no address, or none of the family that `socket_domain` names.
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
    let addresses: Vec<_> = addresses.filter(is_wanted).collect();
    if addresses.is_empty() {
        let error =
            io::Error::other("the host has no address of the family that 'socket_domain' names");
        return Err(ListenError::look_up(host, error));
    }
    Ok(addresses)
}

/// Binds the addresses, or the path, of a `listener` line.
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

/// Checks that the addresses, or the folder, of a `listener` line exist on this machine. No port is opened, so a broker
/// that serves there already is not disturbed.
///
/// # Errors
/// If the listener could not be opened.
pub(crate) fn check_listener(listener: &ListenerConfig) -> Result<(), ListenError> {
    if let Some(path) = listener.unix_path() {
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
    // A UDP socket at any port finds out whether the address is one of this machine.
    let bind = |host: &IpAddr| {
        let error = |error| ListenError::new(SocketAddr::new(*host, listener.port), error);
        UdpSocket::bind((*host, 0)).map_err(error)
    };
    each_host(&hosts(listener)?, bind).map(drop)
}

/// Returns the transport of a listener: TLS and WebSocket, as configured.
pub(crate) fn listener_transport(
    listener: &ListenerConfig,
) -> Result<ListenerTransport, ServerError> {
    let mut transport = ListenerTransport::default();
    if let Some(options) = &listener.tls {
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

/// Listens at one port of these addresses. Port 0 takes a free one, the same for all.
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

/// Does something with each address of a host. An unsupported address family is ignored if at least one address
/// remains.
fn each_host<T>(
    hosts: &[IpAddr],
    mut use_host: impl FnMut(&IpAddr) -> Result<T, ListenError>,
) -> Result<Vec<T>, ListenError> {
    let mut used = Vec::new();
    let mut missing = None;
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

fn is_missing_family(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    const EAFNOSUPPORT: i32 = 97; // Linux; elsewhere the kinds above
    matches!(error.kind(), AddrNotAvailable | Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}
