//! [`Acceptor`]: the open listeners, and the connections that are accepted at them.

use super::error::ServerError;
use super::listener::{BoundListener, bind_listener, listen};
use super::reserve::Reserve;
use super::sockets::state::Sockets;
use super::sockets::table::Socket;
use crate::config::model::BrokerConfig;
use mio::{Interest, Registry, Token};
use mqtt_broker_core::{Broker, CONNECTIONS, EVENTS, LogEvent};
use mqtt_transport::{Stream, reason};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Maximum number of connections that a listener accepts in one turn. Without this limit, many new connections at the
/// same time would delay the open ones.
const MAXIMUM_ACCEPTED: usize = 32;

/// The pause before the server accepts connections again after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The listeners, and the state of accepting at them.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) listeners: Vec<BoundListener>,
    /// Listeners at which more connections may wait than one turn accepts.
    accepting: Vec<usize>,
    /// The end of the pause after connections could not be accepted.
    retry_at: Option<Instant>,
    /// Set while connections cannot be accepted, so that the failure is logged once.
    has_failed: bool,
    /// Descriptors that are kept back from clients.
    pub(crate) reserve: Reserve,
}

impl Acceptor {
    /// Binds the listeners of the configuration, or `default_ports` at the loopback addresses if the configuration has
    /// no listeners.
    ///
    /// # Errors
    /// Returns an error if a listener cannot be bound. No listener stays open then.
    pub(crate) fn bind(
        config: &BrokerConfig,
        default_ports: &[u16],
        registry: &Registry,
    ) -> Result<Self, ServerError> {
        let mut listeners = Vec::new();
        if config.listeners.is_empty() {
            // Without a listener in the configuration, no other machine can connect. mosquitto 2 does the same.
            for port in default_ports {
                let hosts = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
                let opened = listen(&hosts, *port)?;
                listeners.extend(opened.into_iter().map(|listener| (listener, None, 0)));
            }
        }
        for (index, listener) in config.listeners.iter().enumerate() {
            let place = || config.places.of_listener(index);
            let opened = bind_listener(listener).map_err(|error| error.at(place()))?;
            // With port 0, several listeners may have the same host and port, and a reload must distinguish them.
            let above = config.listeners.iter().take(index);
            let rank = above.filter(|other| other.is_same_place(listener)).count();
            let with_settings = |opened| (opened, Some(listener.clone()), rank);
            listeners.extend(opened.into_iter().map(with_settings));
        }
        let mut bound = Vec::new();
        for (index, (mut listener, own, rank)) in listeners.into_iter().enumerate() {
            registry.register(&mut listener, Token(index), Interest::READABLE)?;
            bound.push(BoundListener {
                name: listener.name()?,
                address: listener.local_address()?,
                listener,
                config: own,
                rank,
            });
        }
        Ok(Self {
            listeners: bound,
            accepting: Vec::new(),
            retry_at: None,
            has_failed: false,
            reserve: Reserve::default(),
        })
    }

    /// Accepts connections at the listener with this index, up to `MAXIMUM_ACCEPTED`.
    pub(crate) fn accept(
        &mut self,
        broker: &mut Broker,
        sockets: &mut Sockets,
        registry: &Registry,
        now: Instant,
        index: usize,
    ) {
        if self.retry_at.is_some() {
            return; // the pause after a failure is not over
        }
        for _ in 0..MAXIMUM_ACCEPTED {
            let Some((stream, address)) = self.next_connection(broker, now, index) else {
                return; // no connection waits, or none can be accepted
            };
            if has_too_many(broker, sockets, index) {
                let limiter = broker.log_limiter();
                if limiter.admits_from(now, LogEvent::TooMany, &address) {
                    log::warn!(target: EVENTS, "Connection from {address} closed: max_connections or global_max_connections is reached.");
                }
                continue;
            }
            self.serve_connection(broker, sockets, registry, now, index, (stream, address));
        }
        // More connections may wait. The poll does not report the same readiness again, so the next turn tries to
        // accept without an event.
        self.accepting.push(index);
    }

    /// Accepts at the listeners that may have more connections than the last turn accepted.
    pub(crate) fn accept_more(
        &mut self,
        broker: &mut Broker,
        sockets: &mut Sockets,
        registry: &Registry,
        now: Instant,
    ) {
        for index in std::mem::take(&mut self.accepting) {
            self.accept(broker, sockets, registry, now, index);
        }
    }

    /// Accepts at all listeners if the pause after a failure is over.
    pub(crate) fn accept_after_pause(
        &mut self,
        broker: &mut Broker,
        sockets: &mut Sockets,
        registry: &Registry,
        now: Instant,
    ) {
        // The poll does not report again which listeners have waiting connections, so all listeners are tried.
        if self.retry_at.is_some_and(|retry_at| retry_at <= now) {
            self.retry_at = None;
            for index in 0..self.listeners.len() {
                self.accept(broker, sockets, registry, now, index);
            }
        }
    }

    /// Ends the pause after a failure, because a descriptor was freed.
    pub(crate) fn end_pause(&mut self, now: Instant) {
        if let Some(retry_at) = &mut self.retry_at {
            *retry_at = now;
        }
    }

    /// Accepts no more connections.
    ///
    /// # Errors
    /// Returns an error if a listener cannot be removed from the poll.
    pub(crate) fn stop(&mut self, registry: &Registry) -> io::Result<()> {
        for bound in &mut self.listeners {
            registry.deregister(&mut bound.listener)?;
        }
        self.retry_at = None;
        self.accepting.clear();
        Ok(())
    }

    /// Returns the time at which `accept_after_pause` must be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Returns `true` if more connections may wait at a listener.
    pub(crate) fn has_work(&self) -> bool {
        !self.accepting.is_empty()
    }

    /// Returns the next connection that waits at a listener, with the name of its peer. If the connection cannot be
    /// accepted, begins a pause.
    fn next_connection(
        &mut self,
        broker: &mut Broker,
        now: Instant,
        index: usize,
    ) -> Option<(Stream, String)> {
        let bound = self.listeners.get(index)?;
        // The reserve is filled first, so that the connection does not take a descriptor of the reserve.
        let accepted = self.reserve.fill().and_then(|()| bound.listener.accept());
        match accepted {
            Ok(Some(accepted)) => {
                self.has_failed = false;
                Some(accepted)
            }
            Ok(None) => None,
            Err(error) => {
                // Open connections are still served. New connections wait in the backlog of the listener until the
                // end of the pause, because the poll does not report them again.
                let is_first = !std::mem::replace(&mut self.has_failed, true);
                let limiter = broker.log_limiter();
                if is_first && limiter.admits(now, LogEvent::CannotAccept, "") {
                    let reason = reason(&error);
                    log::warn!(
                        target: EVENTS,
                        "Cannot accept a connection: {reason}. New connections wait until another one ends."
                    );
                }
                self.retry_at = Some(now + ACCEPT_PAUSE);
                None
            }
        }
    }

    /// Adds an accepted connection to the sockets and to the broker.
    fn serve_connection(
        &self,
        broker: &mut Broker,
        sockets: &mut Sockets,
        registry: &Registry,
        now: Instant,
        index: usize,
        (mut stream, address): (Stream, String),
    ) {
        let token = Token(self.listeners.len() + sockets.table.next_index());
        // The poll is edge triggered: a socket that becomes writable causes one event, so both interests are registered
        // once and never changed.
        let interests = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = registry.register(&mut stream, token, interests) {
            let reason = reason(&error);
            log::warn!(target: EVENTS, "Cannot serve the connection from {address}: {reason}.");
            return;
        }
        let bound = self.listeners.get(index);
        let limiter = broker.log_limiter();
        if limiter.admits_from(now, LogEvent::Accepted, &address) {
            match bound.and_then(|bound| bound.address) {
                Some(bound) => {
                    log::info!(target: CONNECTIONS, "New connection from {address} on port {}.", bound.port());
                }
                None => log::info!(target: CONNECTIONS, "New connection on {address}."),
            }
        }
        // The core identifies a listener by the index of its policy.
        let id = broker.open(now, address, index as u32);
        let config = bound.and_then(|bound| bound.config.as_ref());
        let tls = config.and_then(|config| config.tls.as_ref());
        let socket = Socket {
            unidentified: config.and_then(|config| config.identity),
            may_have_warning: tls.is_some_and(|tls| tls.ca_file.is_some() || tls.ca_path.is_some()),
            ..Socket::new(stream, id, index)
        };
        sockets.table.insert(socket);
    }
}

/// Returns `true` if `max_connections` of the listener or `global_max_connections` is reached.
fn has_too_many(broker: &Broker, sockets: &Sockets, listener: usize) -> bool {
    let of_listener = broker.maximum_connections(listener as u32);
    let of_all = broker.maximum_connections_of_all();
    of_listener.is_some_and(|maximum| sockets.table.count(listener) >= maximum)
        || of_all.is_some_and(|maximum| broker.connection_count() >= maximum)
}
