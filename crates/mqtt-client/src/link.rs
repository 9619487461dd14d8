//! The way to a stream: wait, look the name up, try its addresses.

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
    Connecting(Connector),
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
                Self::Waiting(_) => {
                    let waker = Arc::clone(waker);
                    let wake = move || drop(waker.wake());
                    let resolver = Resolver::start(&options.host, options.port, wake)
                        .map_err(ClientError::Lookup)?;
                    *self = Self::Resolving(resolver, now + options.connect_timeout);
                }
                Self::Resolving(resolver, deadline) => match resolver.poll() {
                    None if now < *deadline => return Ok(false),
                    None => return Err(ClientError::Lookup(std::io::ErrorKind::TimedOut.into())),
                    Some(addresses) => {
                        let addresses = addresses.map_err(ClientError::Lookup)?;
                        let connector = Connector::new(addresses, now, *deadline);
                        let local_addresses = options.local_addresses.clone();
                        *self = Self::Connecting(connector.from_local(local_addresses));
                    }
                },
                Self::Connecting(connector) => match connector.poll(registry, token, now) {
                    Connecting::Pending => return Ok(false),
                    Connecting::Failed(error) => return Err(ClientError::Connect(error)),
                    Connecting::Connected(stream) => {
                        *self = Self::Up(stream);
                        return Ok(true);
                    }
                },
            }
        }
    }

    /// When `advance` wants to be called without readiness.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Waiting(until) => Some(*until),
            Self::Resolving(_, deadline) => Some(*deadline),
            Self::Connecting(connector) => Some(connector.poll_timeout()),
            Self::Up(_) | Self::Down => None,
        }
    }
}
