//! The way to a stream: wait, look the name up, try its addresses.

use std::io::ErrorKind;
#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mio::{Registry, Token, Waker};
use mqtt_transport::{Connecting, Connector, Resolver, Stream};

use crate::{ClientError, Options};

#[derive(Debug)]
pub(crate) enum Link {
    /// No attempt before this time.
    Waiting(Instant),
    /// Looking the name up; with the time when the whole attempt has failed.
    Resolving(Resolver, Instant),
    Connecting(Connector, Instant),
    /// The layers on the socket are shaking hands.
    Opening(Stream, Instant),
    Up(Stream),
    /// For good.
    Down,
}

impl Link {
    /// Goes on as far as possible without waiting; says whether the stream has come up just now.
    pub(crate) fn advance(
        &mut self,
        options: &Options,
        registry: &Registry,
        token: Token,
        waker: &Arc<Waker>,
        now: Instant,
    ) -> Result<bool, ClientError> {
        loop {
            match self {
                Self::Up(_) | Self::Down => return Ok(false),
                Self::Waiting(until) if now < *until => return Ok(false),
                #[cfg(unix)]
                Self::Waiting(_) if options.unix_path.is_some() => {
                    let path = options
                        .unix_path
                        .as_deref()
                        .unwrap_or_else(|| Path::new(""));
                    let stream = Stream::connect_unix(path, registry, token);
                    let stream = stream.map_err(ClientError::Connect)?;
                    *self = Self::opening(stream, options, now + options.connect_timeout)?;
                }
                Self::Waiting(_) => {
                    let waker = Arc::clone(waker);
                    let wake = move || drop(waker.wake());
                    let (host, port) = match options.route.proxy() {
                        Some(proxy) => (&proxy.host, proxy.port),
                        None => (&options.host, options.port),
                    };
                    let resolver =
                        Resolver::start(host, port, wake).map_err(ClientError::Lookup)?;
                    *self = Self::Resolving(resolver, now + options.connect_timeout);
                }
                Self::Resolving(resolver, deadline) => match resolver.poll() {
                    None if now < *deadline => return Ok(false),
                    None => return Err(ClientError::Lookup(ErrorKind::TimedOut.into())),
                    Some(addresses) => {
                        let addresses = addresses.map_err(ClientError::Lookup)?;
                        let connector = Connector::new(addresses, now, *deadline);
                        let local_addresses = options.local_addresses.clone();
                        *self = Self::Connecting(connector.from_local(local_addresses), *deadline);
                    }
                },
                Self::Connecting(connector, deadline) => match connector.poll(registry, token, now)
                {
                    Connecting::Pending => return Ok(false),
                    Connecting::Failed(error) => return Err(ClientError::Connect(error)),
                    Connecting::Connected(stream) => {
                        *self = Self::opening(stream, options, *deadline)?;
                    }
                },
                Self::Opening(stream, deadline) => {
                    let is_open = stream.open().map_err(ClientError::Transport)?;
                    if !is_open {
                        return match now < *deadline {
                            true => Ok(false),
                            false => Err(ClientError::Transport(ErrorKind::TimedOut.into())),
                        };
                    }
                    if let Self::Opening(stream, _) = std::mem::replace(self, Self::Down) {
                        *self = Self::Up(stream);
                    }
                    return Ok(true);
                }
            }
        }
    }

    fn opening(stream: Stream, options: &Options, deadline: Instant) -> Result<Self, ClientError> {
        let stream = stream.on(&options.route).map_err(ClientError::Transport)?;
        Ok(Self::Opening(stream, deadline))
    }

    /// When `advance` wants to be called without readiness.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Waiting(until) => Some(*until),
            Self::Resolving(_, deadline) => Some(*deadline),
            Self::Connecting(connector, _) => Some(connector.poll_timeout()),
            Self::Opening(_, deadline) => Some(*deadline),
            Self::Up(_) | Self::Down => None,
        }
    }
}
