//! [`Dialer`] opens a stream to a server. It waits until the next attempt, resolves the host name, tries the addresses,
//! and completes the handshakes of the layers.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Instant;

use mio::{Registry, Token, Waker};
#[cfg(feature = "srv")]
use mqtt_transport::NameServers;
use mqtt_transport::{Connecting, Connector, LookUp, Resolver, Stream};

use crate::error::ClientError;
use crate::options::Options;
use crate::servers::Server;

/// Steps to an open stream. The time in each step after `Waiting` is the deadline of the whole attempt.
#[derive(Debug)]
pub(crate) enum Dialer {
    /// The client waits until this time before the next attempt.
    Waiting(Instant),
    /// The client looks up the servers of a service.
    #[cfg_attr(not(feature = "srv"), allow(dead_code))]
    Finding(LookUp<(String, u16)>, Instant),
    /// The client resolves the host name.
    Resolving(Resolver, Instant),
    /// The client connects to one of the addresses.
    Connecting(Connector, Instant),
    /// The layers on the socket complete their handshakes.
    Opening(Stream, Instant),
    /// All layers are open, and the stream transmits MQTT.
    Connected(Stream),
    /// The client makes no more attempts.
    Ended,
}

/// Arguments of an attempt to connect.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) options: &'a Options,
    pub(crate) server: Option<&'a Server>,
    /// Deadline of an attempt that starts now.
    pub(crate) deadline: Instant,
}

/// Result of [`Dialer::advance`].
#[derive(Debug)]
pub(crate) enum Advance {
    /// The state that the caller sees has not changed.
    Nothing,
    /// The servers of a service were found. The caller must add them to its servers. The next call then tries the
    /// current one of these.
    Found(Vec<Server>),
    /// The stream was opened in this call.
    Up,
}

impl Dialer {
    /// Returns `true` if the next call of `advance` starts an attempt.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        matches!(self, Self::Waiting(until) if now >= *until)
    }

    /// Makes as much progress as possible without blocking.
    pub(crate) fn advance(
        &mut self,
        attempt: &Attempt<'_>,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Result<Advance, ClientError> {
        loop {
            match self {
                Self::Connected(_) | Self::Ended => return Ok(Advance::Nothing),
                Self::Waiting(until) if now < *until => return Ok(Advance::Nothing),
                Self::Waiting(_) => {
                    *self = Self::start(attempt, registry, token, waker, now)?;
                }
                Self::Finding(look_up, deadline) => match answer(look_up, *deadline, now)? {
                    None => return Ok(Advance::Nothing),
                    Some(found) => {
                        // The caller first adds the servers to its own, and then passes the one to try.
                        *self = Self::Waiting(now);
                        let found = found.into_iter();
                        let server = |(host, port)| Server::Network { host, port };
                        return Ok(Advance::Found(found.map(server).collect()));
                    }
                },
                Self::Resolving(resolver, deadline) => match answer(resolver, *deadline, now)? {
                    None => return Ok(Advance::Nothing),
                    Some(addresses) => {
                        let connector = Connector::new(addresses, now, *deadline);
                        let connector = connector
                            .from_local(attempt.options.local_addresses.clone())
                            .with_tcp_keep_alive(attempt.options.tcp_keep_alive);
                        *self = Self::Connecting(connector, *deadline);
                    }
                },
                Self::Connecting(connector, deadline) => match connector.poll(registry, token, now)
                {
                    Connecting::Pending => return Ok(Advance::Nothing),
                    Connecting::Failed(error) => return Err(ClientError::Connect(error)),
                    Connecting::Connected(stream) => {
                        *self = Self::opening(stream, attempt, *deadline)?;
                    }
                },
                Self::Opening(stream, deadline) => {
                    // The deadline covers all steps. A server that stops in a handshake cannot delay the client for
                    // longer.
                    let is_open = match stream.open() {
                        Ok(false) if now >= *deadline => Err(ErrorKind::TimedOut.into()),
                        result => result,
                    };
                    let explain = |error| ClientError::Transport(stream.explained(error));
                    if !is_open.map_err(explain)? {
                        return Ok(Advance::Nothing);
                    }
                    if let (Some(warn), Some(line)) =
                        (attempt.options.on_warning, stream.peer_warning())
                    {
                        warn(&line);
                    }
                    // The stream can be moved out of `self` only if another value replaces it.
                    if let Self::Opening(stream, _) = std::mem::replace(self, Self::Ended) {
                        *self = Self::Connected(stream);
                    }
                    return Ok(Advance::Up);
                }
            }
        }
    }

    /// Returns the first step of an attempt.
    #[cfg_attr(not(all(feature = "srv", unix)), allow(unused_variables))]
    fn start(
        attempt: &Attempt<'_>,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Result<Self, ClientError> {
        let Attempt {
            options, deadline, ..
        } = *attempt;
        match attempt.server {
            None => Err(ClientError::Lookup(ErrorKind::NotFound.into())),
            #[cfg(unix)]
            Some(Server::Unix(path)) => {
                let stream = Stream::connect_unix(path, registry, token);
                let stream = stream.map_err(ClientError::Connect)?;
                Self::opening(stream, attempt, deadline)
            }
            #[cfg(not(unix))]
            Some(Server::Unix(_)) => Err(ClientError::Connect(ErrorKind::Unsupported.into())),
            #[cfg(not(feature = "srv"))]
            Some(Server::Service { .. }) => {
                let text = "service records need the feature srv of mqtt-client";
                let error = std::io::Error::new(ErrorKind::Unsupported, text);
                Err(ClientError::Lookup(error))
            }
            #[cfg(feature = "srv")]
            Some(Server::Service { name, name_server }) => {
                let mut name_servers = NameServers::of_system();
                if let Some(address) = name_server {
                    name_servers.addresses = vec![*address];
                }
                let waker = Arc::clone(waker);
                let wake = move || drop(waker.wake());
                let look_up = name_servers.look_up(name.clone(), deadline - now, wake);
                Ok(Self::Finding(
                    look_up.map_err(ClientError::Lookup)?,
                    deadline,
                ))
            }
            Some(Server::Network { host, port }) => {
                // The proxy resolves the name of the server, so only the name of the proxy is resolved here.
                let (host, port) = match options.transport.proxy() {
                    Some(proxy) => proxy,
                    None => (host.as_str(), *port),
                };
                let waker = Arc::clone(waker);
                let wake = move || drop(waker.wake());
                let resolver = Resolver::start(host, port, wake).map_err(ClientError::Lookup)?;
                Ok(Self::Resolving(resolver, deadline))
            }
        }
    }

    /// Adds the layers to a connected stream.
    fn opening(
        stream: Stream,
        attempt: &Attempt<'_>,
        deadline: Instant,
    ) -> Result<Self, ClientError> {
        // A server at a Unix socket is on this machine, so its certificate must be for `localhost`.
        let (host, port) = match attempt.server {
            Some(Server::Network { host, port }) => (host.as_str(), *port),
            _ => ("localhost", 0),
        };
        let layers = attempt.options.transport.layers(host, port);
        let stream = stream.with_layers(layers.map_err(ClientError::Transport)?);
        Ok(Self::Opening(stream, deadline))
    }

    /// Returns the time at which the caller must call `advance` even if no socket is ready.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Waiting(until) => Some(*until),
            Self::Finding(_, deadline) | Self::Resolving(_, deadline) => Some(*deadline),
            Self::Connecting(connector, _) => Some(connector.poll_timeout()),
            Self::Opening(_, deadline) => Some(*deadline),
            Self::Connected(_) | Self::Ended => None,
        }
    }
}

/// Returns the result of a look-up, or `None` if the look-up is in progress.
///
/// # Errors
/// Returns an error if the look-up found no result, or if the deadline has passed.
fn answer<T: Send + 'static>(
    look_up: &LookUp<T>,
    deadline: Instant,
    now: Instant,
) -> Result<Option<Vec<T>>, ClientError> {
    match look_up.poll() {
        None if now < deadline => Ok(None),
        None => Err(ClientError::Lookup(ErrorKind::TimedOut.into())),
        Some(found) => found.map(Some).map_err(ClientError::Lookup),
    }
}
