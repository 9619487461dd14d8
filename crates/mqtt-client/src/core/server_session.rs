//! [`ServerSession`] records what the client can assume about its session at the server.

use std::time::{Duration, Instant};

use crate::servers::Server;

/// The client's session at the server, as far as the client can infer it from received bytes and times.
#[derive(Debug, Default)]
pub(super) struct ServerSession {
    /// Server that has the session. `None` before the first connection.
    server: Option<Server>,
    /// Time of the last bytes from a server that had accepted the connection.
    last_heard: Option<Instant>,
    /// Time for which the server keeps the session after `last_heard`. `None` if the session never expires.
    expiry: Option<Duration>,
    /// Set if the session may have expired at the server, and a CONNECT without CONNACK may then have created a new
    /// one. Session Present would refer to that new session, so the next CONNECT must have Clean Start.
    is_doubtful: bool,
}

impl ServerSession {
    /// Records that `server` has accepted a connection, and that it keeps the session for the time `expiry`.
    pub(super) fn handle_connected(
        &mut self,
        now: Instant,
        server: Option<&Server>,
        expiry: Option<Duration>,
    ) {
        *self = Self {
            server: server.cloned(),
            last_heard: Some(now),
            expiry,
            is_doubtful: false,
        };
    }

    /// Records that bytes have arrived from a server that has accepted the connection.
    pub(super) fn handle_bytes(&mut self, now: Instant) {
        self.last_heard = Some(now);
    }

    /// Records that a connection was lost before CONNACK arrived. If the old session has expired, CONNECT may have
    /// created a new session at the server.
    pub(super) fn handle_lost_connect(&mut self, now: Instant) {
        let expired = |heard| self.expiry.is_some_and(|time| now - heard >= time);
        self.is_doubtful |= self.last_heard.is_some_and(expired);
    }

    /// Returns `true` if the next CONNECT must have Clean Start.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Returns `true` if another server than this one has the session.
    pub(super) fn is_of_another(&self, server: Option<&Server>) -> bool {
        self.server.is_some() && self.server.as_ref() != server
    }
}
