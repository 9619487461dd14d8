//! Which addresses a `listener` line means, and the sockets that listen there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use mqtt_broker_core::EVENTS;
use mqtt_transport::{Listener, ListenerTransport, TlsServer, TlsServerOptions};

use crate::{ListenerSettings, ServerError};

/// The addresses that a `listener` line names: all of this machine, or those of a host.
pub(crate) fn hosts(listener: &ListenerSettings) -> Result<Vec<IpAddr>, ServerError> {
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
    let addresses = mqtt_transport::resolve(host, listener.port, Duration::from_secs(10));
    let addresses = addresses.map_err(|error| ServerError::Listen(host.clone(), error))?;
    Ok(addresses
        .iter()
        .map(SocketAddr::ip)
        .filter(is_wanted)
        .collect())
}

/// Binds the addresses, or the path, of a `listener` line.
pub(crate) fn bind_listener(listener: &ListenerSettings) -> Result<Vec<Listener>, ServerError> {
    Ok(match listener.unix_path() {
        #[cfg(unix)]
        Some(path) => {
            let name = || path.display().to_string();
            let bound = Listener::bind_unix(path);
            vec![bound.map_err(|error| ServerError::Listen(name(), error))?]
        }
        #[cfg(not(unix))]
        Some(path) => {
            let error = io::ErrorKind::Unsupported.into();
            return Err(ServerError::Listen(path.display().to_string(), error));
        }
        None => listen(&hosts(listener)?, listener.port)?,
    })
}

/// What lies between the sockets of a listener and MQTT.
pub(crate) fn listener_transport(
    listener: &ListenerSettings,
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

/// Listens at one port of these addresses. A machine without IPv6, or without IPv4, is none of its
/// addresses' fault as long as one is left.
pub(crate) fn listen(hosts: &[IpAddr], port: u16) -> Result<Vec<Listener>, ServerError> {
    let mut port = port;
    let mut listeners = Vec::new();
    let mut missing = None;
    for host in hosts {
        let address = SocketAddr::new(*host, port);
        match Listener::bind(address) {
            Ok(listener) => {
                if let Some(bound) = listener.local_address()? {
                    port = bound.port(); // the same for the others
                }
                listeners.push(listener);
            }
            Err(error) if hosts.len() > 1 && is_missing_family(&error) => {
                missing = Some((address, error));
            }
            Err(error) => return Err(ServerError::Listen(address.to_string(), error)),
        }
    }
    match missing {
        Some((address, error)) if listeners.is_empty() => {
            Err(ServerError::Listen(address.to_string(), error))
        }
        _ => Ok(listeners),
    }
}

fn is_missing_family(error: &io::Error) -> bool {
    use io::ErrorKind::{AddrNotAvailable, Unsupported};
    const EAFNOSUPPORT: i32 = 97; // Linux; elsewhere the kinds above
    matches!(error.kind(), AddrNotAvailable | Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}
