//! The decisions of a client, without sockets and clocks: the session between two connections, messages to resend, the
//! next server, and the time of the next attempt.
//!
//! [`EventLoop`](crate::EventLoop) runs this core on a socket. The simulator runs the same core on a simulated network.

mod attempts;
mod backlog;
pub(crate) mod rejected;
mod server_session;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mqtt_codec::{Connack, Connect, Delivery, Disconnect, ProtocolVersion, ReasonCode};
use mqtt_session::{Connection, Event, OutboundMessage, Session};

use self::attempts::Attempts;
pub use self::rejected::Rejected;
use self::server_session::ServerSession;
use crate::error::ClientError;
use crate::options::{Options, Reconnect};
use crate::oversized::Oversized;
use crate::servers::{Server, Servers};

/// State of a client across all its connections.
#[derive(Debug)]
pub struct ClientCore {
    options: Options,
    /// The connection. `None` while no stream is open.
    connection: Option<Connection>,
    /// Session that the next connection resumes. `None` while a connection has the session.
    session: Option<Session>,
    /// Unfinished messages of a lost session. They are published as new messages, before any other message.
    backlog: VecDeque<OutboundMessage>,
    servers: Servers,
    attempts: Attempts,
    server_session: ServerSession,
    /// Time at which the server has accepted the current connection.
    connected_since: Option<Instant>,
    /// Set when this connection has a subscription, so that the server may send messages at any time.
    expects_messages: bool,
    /// Finds messages that are larger than the server accepts.
    oversized: Oversized,
    /// Messages of the backlog that were given up and have not been reported.
    rejected: Vec<Rejected>,
}

/// Age at which a connection counts as progress, so that waits and time limits start anew after its loss. A delivered
/// message counts as progress too. An accepted connection does not: a server may accept and close each connection
/// because of the packets that follow CONNECT.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

impl ClientCore {
    /// Returns a client without a connection. The first connection resumes `session`; see [`Connection::client`].
    pub fn new(options: Options, session: Option<Session>) -> Self {
        Self {
            servers: Servers::new(options.servers.clone(), options.follow_server_references),
            options,
            connection: None,
            session,
            backlog: VecDeque::new(),
            attempts: Attempts::default(),
            server_session: ServerSession::default(),
            connected_since: None,
            expects_messages: false,
            oversized: Oversized::default(),
            rejected: Vec::new(),
        }
    }

    /// Returns the server to which the client connects next.
    pub fn server(&self) -> Option<&Server> {
        self.servers.current()
    }

    /// Adds the servers that were found for a [`Server::Service`].
    pub fn found(&mut self, servers: impl IntoIterator<Item = Server>) {
        self.servers.found(servers);
    }

    /// Starts an attempt to connect. Returns the deadline for opening the stream.
    pub fn begin_attempt(&mut self, now: Instant) -> Instant {
        self.attempts.begin(now);
        self.attempts
            .end_of_step(&self.options, now, self.options.connect_timeout)
    }

    /// Starts a connection on an open stream to the current server. The output then contains CONNECT.
    ///
    /// # Errors
    /// Returns an error if a field of CONNECT cannot be encoded.
    pub fn handle_reached(&mut self, now: Instant) -> Result<(), ClientError> {
        self.leave_session_of_another_server();
        let mut connect = self.options.connect_packet();
        // With Clean Start the client need not rely on Session Present. Unfinished messages are published as new
        // messages.
        connect.clean_start |= self.server_session.is_doubtful();
        let mut limits = self.options.limits.clone();
        let end = self
            .attempts
            .end_of_step(&self.options, now, limits.handshake_timeout);
        // The time limit of all attempts ends a handshake in progress too.
        limits.handshake_timeout = end - now;
        self.connection = Some(Connection::client(
            &connect,
            self.session.take(),
            limits,
            now,
        )?);
        self.attempts.handle_reached();
        self.expects_messages = false;
        Ok(())
    }

    /// Handles complete packets at the front of `input` and passes each event to `handle`. Returns when no event is
    /// left, or when `handle` returns `Break`.
    ///
    /// # Errors
    /// Returns an error if the connection has ended. The caller must then call `handle_lost`.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut &[u8],
        handle: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        // The event loop also calls this method while the client is connecting.
        let Some(connection) = &mut self.connection else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut flow = ControlFlow::Continue(());
        // While the server sends bytes, the session exists at the server. The time until its expiry starts after these
        // bytes.
        if connection.is_connected() && !input.is_empty() {
            self.server_session.handle_bytes(now);
        }
        while let Some(event) = connection.handle_input(now, input) {
            match &event {
                Event::Closed(reason) => return Err(ClientError::Closed(reason.clone())),
                Event::Connected {
                    connack,
                    unfinished,
                } => {
                    // The client uses an assigned client identifier for later connections too (MQTT 5.0, 3.2.2.3.7).
                    if let Some(identifier) = &connack.properties.assigned_client_identifier {
                        self.options
                            .connect
                            .client_identifier
                            .clone_from(identifier);
                    }
                    // The server has just lost the session. The messages of the session are older than those in the
                    // backlog, so they come first.
                    for outgoing in unfinished.iter().rev() {
                        self.backlog.push_front(outgoing.clone());
                    }
                    self.servers.accepted();
                    self.attempts.handle_connected();
                    self.connected_since = Some(now);
                    let expiry = session_expiry(&self.options.connect, connack);
                    let server = self.servers.current();
                    self.server_session.handle_connected(now, server, expiry);
                    // A resumed session may have subscriptions and queued messages.
                    self.expects_messages = connack.session_present;
                }
                Event::Subscribed(_) => {
                    self.expects_messages = true;
                    self.attempts.handle_answer();
                }
                Event::Unsubscribed(_) => self.attempts.handle_answer(),
                Event::Delivered { .. } | Event::Message(_) => {
                    if let Event::Delivered { .. } = &event {
                        self.oversized.delivered();
                    }
                    self.attempts.handle_progress();
                    self.servers.made_progress();
                }
                _ => {}
            }
            flow = handle(connection, event);
            if flow.is_break() {
                break;
            }
        }
        // An acknowledgement above may have made room in flight.
        self.send_backlog(now);
        Ok(flow)
    }

    /// Sends PINGREQ or ends the connection if a deadline of the connection has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    /// Records that the server has closed the stream. This ends the connection.
    pub fn handle_close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.handle_close();
        }
    }

    /// Handles the loss of a stream, or a failure to open one. Returns the error and the wait before the next attempt.
    /// `random` determines the jitter of the wait. The wait is zero if another server has not been tried yet.
    ///
    /// # Errors
    /// Returns the error if the client must give up.
    pub fn handle_lost(
        &mut self,
        now: Instant,
        error: ClientError,
        random: u32,
    ) -> Result<(ClientError, Duration), ClientError> {
        if let Some(mut connection) = self.connection.take() {
            self.session = Some(connection.take_session());
            if self.connected_since.is_none() {
                self.server_session.handle_lost_connect(now);
            }
        }
        let was_accepted = self.connected_since.is_some();
        let may_get_further = match &mut self.session {
            // A connection sends messages only after CONNACK.
            Some(session) if was_accepted => {
                let maximum_losses = self.options.maximum_losses;
                self.oversized
                    .connection_lost(session, &error, maximum_losses)
            }
            _ => false,
        };
        let lived = self
            .connected_since
            .take()
            .map_or(Duration::ZERO, |since| now - since);
        if lived >= GOOD_CONNECTION {
            self.attempts.handle_progress();
            self.servers.made_progress();
        }
        // A client that must not reconnect must not connect to another server either.
        let may_move = !was_accepted || self.options.reconnect != Reconnect::Never;
        if may_move && self.servers.move_on(&error, was_accepted) {
            let is_referred = self.servers.reference(&error).is_some();
            self.attempts.skip_wait(&error, is_referred);
            return Ok((error, Duration::ZERO));
        }
        let wait = self
            .attempts
            .next_wait(&self.options, now, &error, may_get_further, random);
        match wait {
            Some(wait) => Ok((error, wait)),
            None => Err(error),
        }
    }

    /// Returns the time at which the caller must call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connection.as_ref().and_then(Connection::poll_timeout)
    }

    /// Returns the bytes to write to the stream.
    pub fn output(&self) -> &[u8] {
        self.connection.as_ref().map_or(&[], Connection::output)
    }

    /// Removes the first `count` bytes of the output after they were written.
    pub fn consume_output(&mut self, now: Instant, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.consume_output(now, count);
        }
    }

    /// Acknowledges a message that the application has accepted. If the connection of a message of QoS 2 is lost, the
    /// session records the message as accepted, so that a duplicate is not delivered.
    pub fn acknowledge(&mut self, now: Instant, delivery: Delivery) {
        let Some(packet_identifier) = delivery.packet_identifier() else {
            // A message of QoS 0 has no acknowledgement.
            return;
        };
        match (&mut self.connection, &mut self.session) {
            (Some(connection), _) => {
                connection.acknowledge(now, packet_identifier, ReasonCode::Success);
            }
            (None, Some(session)) => session.hold_identifier(delivery),
            (None, None) => debug_assert!(false, "a message came without a connection"),
        }
    }

    /// Records that bytes of the server wait unread; see [`Connection::handle_unread`].
    pub fn handle_unread(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_unread(now);
        }
    }

    /// Sends DISCONNECT and ends the connection.
    pub fn disconnect(&mut self, now: Instant, disconnect: Disconnect) {
        if let Some(connection) = &mut self.connection {
            connection.disconnect(now, disconnect);
        }
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now.
    pub fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.connection.as_ref().is_some_and(Connection::has_room)
    }

    /// Returns the connection, or `None` while no stream is open.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Returns `true` while a connection exists that the server has accepted.
    pub fn is_connected(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(Connection::is_connected)
    }

    /// Returns `true` if the server may send packets at any time: the connection has subscribed, has resumed a session,
    /// or releases packet identifiers.
    pub fn expects_messages(&self) -> bool {
        let connection = self.connection.as_ref();
        self.expects_messages || connection.is_some_and(Connection::is_reclaiming)
    }

    /// Returns the number of published messages of QoS 1 and 2 that the server has not acknowledged completely.
    pub fn unfinished(&self) -> usize {
        let session = self.session.as_ref().map_or(0, Session::unfinished_sent);
        let sent = self
            .connection
            .as_ref()
            .map_or(session, Connection::unfinished_sent);
        sent + self.backlog.len()
    }
}

/// Returns the time for which the server keeps the session without a connection, or `None` without a limit.
fn session_expiry(connect: &Connect, connack: &Connack) -> Option<Duration> {
    // The interval in CONNACK replaces the one in CONNECT (MQTT 5.0, 3.2.2.3.2).
    let asked = connect.properties.session_expiry_interval.unwrap_or(0);
    let seconds = connack.properties.session_expiry_interval.unwrap_or(asked);
    // MQTT 3.1 and 3.1.1 have no expiry, and 0xFFFFFFFF means that the session never expires.
    let ends = connect.protocol_version == ProtocolVersion::V5_0 && seconds != u32::MAX;
    ends.then(|| Duration::from_secs(seconds.into()))
}
