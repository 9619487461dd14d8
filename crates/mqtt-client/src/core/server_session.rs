//! [`ServerSession`]: the client's knowledge of its session at the server.

use std::time::{Duration, Instant};

use crate::servers::Server;

/// The session as the server holds it, as far as the client knows.
#[derive(Debug, Default)]
pub(super) struct ServerSession {
    /// The server that holds the session. `None` before the first connection.
    server: Option<Server>,
    /// The time of the last bytes from a server that had accepted a connection.
    last_heard: Option<Instant>,
    /// The time for which the server keeps the session after `last_heard`. `None` if the session never expires.
    expiry: Option<Duration>,
    /// Set if the session may have expired at the server, and a CONNECT whose CONNACK was lost may have created a new
    /// one. Session Present would then be about the new session, so the next CONNECT must be a clean start.
    is_doubtful: bool,
}

impl ServerSession {
    /// Records that `server` has accepted a connection, and that it keeps the session for this time.
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

    /// Records that bytes of a server arrived that has accepted the connection.
    pub(super) fn handle_bytes(&mut self, now: Instant) {
        self.last_heard = Some(now);
    }

    /// Records that a connection was lost before its CONNACK arrived. Nobody knows whether its CONNECT has created a
    /// new session at the server.
    pub(super) fn handle_lost_connect(&mut self, now: Instant) {
        let expired = |heard| self.expiry.is_some_and(|time| now - heard >= time);
        self.is_doubtful |= self.last_heard.is_some_and(expired);
    }

    /// Returns `true` if the next CONNECT must be a clean start.
    pub(super) fn is_doubtful(&self) -> bool {
        self.is_doubtful
    }

    /// Returns `true` if the session is not at this server.
    pub(super) fn is_of_another(&self, server: Option<&Server>) -> bool {
        self.server.is_some() && self.server.as_ref() != server
    }
}
