//! The decisions of a client, without sockets and clock: the session between connections, messages to resend, the next
//! server, and the time of the next attempt.
//!
//! [`EventLoop`](crate::EventLoop) runs the core on a socket, and the simulator runs it on a simulated network.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{
    Connack, Connect, Delivery, Disconnect, Message, PacketIdentifier, ProtocolVersion, ReasonCode,
};
use mqtt_session::{CloseReason, Connection, Event, OutboundMessage, PublishError, Session};

use crate::backoff::Backoff;
use crate::error::ClientError;
use crate::options::{Options, Reconnect};
use crate::oversized::Oversized;
use crate::servers::{self, Server, Servers};

/// The state of a client over all its connections.
#[derive(Debug)]
pub struct ClientCore {
    options: Options,
    /// The connection, while a stream is open.
    connection: Option<Connection>,
    /// The session that the next connection resumes.
    session: Option<Session>,
    /// Unfinished messages of a lost session, which are sent as new messages before any other.
    backlog: VecDeque<OutboundMessage>,
    servers: Servers,
    /// Set if a server that was tried since the last wait may accept the client after the next wait.
    round_may_pass: bool,
    /// The server that holds the session.
    session_of: Option<Server>,
    backoff: Backoff,
    /// The start of the first attempt, or the time when the connection was lost.
    lost_since: Option<Instant>,
    /// Set once a stream to a server was open.
    was_reached: bool,
    /// Set once a server has accepted a connection.
    was_connected: bool,
    /// Set once a server has answered a SUBSCRIBE or UNSUBSCRIBE.
    was_answered: bool,
    /// The time when the server accepted this connection.
    connected_since: Option<Instant>,
    /// The time of the last bytes from a server that had accepted a connection.
    last_heard: Option<Instant>,
    /// The time for which the server keeps the session after `last_heard`. `None` if the session never expires.
    session_expiry: Option<Duration>,
    /// Set when this connection has a subscription: the server may send messages at any time.
    expects_messages: bool,
    /// Set if the session may have expired at the server, and a CONNECT whose CONNACK was lost may have created a new
    /// one. Session Present would then be about the new session, so the next CONNECT must be a clean start.
    is_doubtful: bool,
    /// Messages that may be larger than the server accepts.
    oversized: Oversized,
}

/// The age at which a connection counts as progress, so that the waits and the time of trying begin again. A delivered
/// message counts, too. An accepted connection does not: a server may accept and close again and again because of the
/// packets that follow CONNECT.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// The minimum time for an attempt, even for one that starts when the time of trying ends.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

impl ClientCore {
    /// Creates a client without a connection. It resumes `session`, if there is one; see [`Connection::client`].
    pub fn new(options: Options, session: Option<Session>) -> Self {
        Self {
            servers: Servers::new(options.servers.clone(), options.follow_server_references),
            round_may_pass: false,
            session_of: None,
            options,
            connection: None,
            session,
            backlog: VecDeque::new(),
            backoff: Backoff::default(),
            lost_since: None,
            was_reached: false,
            was_connected: false,
            was_answered: false,
            connected_since: None,
            last_heard: None,
            session_expiry: None,
            expects_messages: false,
            is_doubtful: false,
            oversized: Oversized::default(),
        }
    }

    /// Returns the server to connect to.
    pub fn server(&self) -> Option<&Server> {
        self.servers.current()
    }

    /// Handles the result of the look-up of a [`Server::Service`].
    pub fn found(&mut self, servers: impl IntoIterator<Item = Server>) {
        self.servers.found(servers);
    }

    /// Starts an attempt to connect. Returns the time when the stream must be open.
    pub fn begin_attempt(&mut self, now: Instant) -> Instant {
        self.lost_since.get_or_insert(now);
        self.end_of_step(now, self.options.connect_timeout)
    }

    /// Starts a connection on a stream to the server that is open now, and puts CONNECT into the output.
    ///
    /// # Errors
    /// If a field of CONNECT does not fit into the packet.
    pub fn handle_reached(&mut self, now: Instant) -> Result<(), ClientError> {
        self.leave_session_of_another_server();
        let mut connect = self.options.connect_packet();
        // A clean start makes Session Present certain: unfinished messages are sent as new ones.
        connect.clean_start |= self.is_doubtful;
        let mut limits = self.options.limits.clone();
        limits.handshake_timeout = self.end_of_step(now, limits.handshake_timeout) - now;
        self.connection = Some(Connection::client(
            &connect,
            self.session.take(),
            limits,
            now,
        )?);
        self.was_reached = true;
        self.expects_messages = false;
        Ok(())
    }

    /// Takes complete packets from the front of `input` and passes each event to `handle`, until no event is left or
    /// `handle` breaks.
    ///
    /// # Errors
    /// If the connection has ended. The caller must then call `handle_lost`.
    pub fn handle_input(
        &mut self,
        now: Instant,
        input: &mut &[u8],
        handle: &mut impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ClientError> {
        // The event loop also calls this while it connects.
        let Some(connection) = &mut self.connection else {
            return Ok(ControlFlow::Continue(()));
        };
        let mut flow = ControlFlow::Continue(());
        if connection.is_connected() && !input.is_empty() {
            self.last_heard = Some(now);
        }
        while let Some(event) = connection.handle_input(now, input) {
            match &event {
                Event::Closed(reason) => return Err(ClientError::Closed(reason.clone())),
                Event::Connected {
                    connack,
                    unfinished,
                } => {
                    // The client keeps an assigned identifier for later connections (MQTT 5.0, section 3.2.2.3.7).
                    if let Some(identifier) = &connack.properties.assigned_client_identifier {
                        self.options
                            .connect
                            .client_identifier
                            .clone_from(identifier);
                    }
                    // Messages of the session that was lost now are older than those in the backlog.
                    for outgoing in unfinished.iter().rev() {
                        self.backlog.push_front(outgoing.clone());
                    }
                    self.servers.accepted();
                    self.round_may_pass = false;
                    self.session_of = self.servers.current().cloned();
                    if !std::mem::replace(&mut self.was_connected, true) {
                        self.lost_since = None; // `wait_for_server` limits the first connection only
                    }
                    self.connected_since = Some(now);
                    self.last_heard = Some(now);
                    self.session_expiry = session_expiry(&self.options.connect, connack);
                    self.is_doubtful = false;
                    self.expects_messages = connack.session_present;
                }
                Event::Subscribed(_) => {
                    (self.expects_messages, self.was_answered) = (true, true);
                }
                Event::Unsubscribed(_) => self.was_answered = true,
                Event::Delivered { .. } | Event::Message(_) => {
                    if let Event::Delivered { .. } = &event {
                        self.oversized.delivered();
                    }
                    self.lost_since = None;
                    self.backoff.reset();
                    self.servers.made_progress();
                }
                _ => {}
            }
            flow = handle(connection, event);
            if flow.is_break() {
                break;
            }
        }
        self.send_backlog(now)?;
        Ok(flow)
    }

    /// Sends PINGREQ, or ends the connection, if a deadline of the connection has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    /// Records that the server has closed the stream, which ends the connection.
    pub fn handle_close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.handle_close();
        }
    }

    /// Handles the loss of a stream, or the failure to open one. Returns the error and the time to wait before the next
    /// attempt. The time is spread by `random`, and zero if there is another server that was not tried yet.
    ///
    /// # Errors
    /// Returns the error if the client must not try again.
    pub fn handle_lost(
        &mut self,
        now: Instant,
        error: ClientError,
        random: u32,
    ) -> Result<(ClientError, Duration), ClientError> {
        if let Some(mut connection) = self.connection.take() {
            self.session = Some(connection.take_session());
            let expired = |heard| self.session_expiry.is_some_and(|time| now - heard >= time);
            // Without a CONNACK nobody knows whether this CONNECT has created a new session at the server.
            if self.connected_since.is_none() && self.last_heard.is_some_and(expired) {
                self.is_doubtful = true;
            }
        }
        let was_accepted = self.connected_since.is_some();
        let may_get_further = match &mut self.session {
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
            self.lost_since = None;
            self.backoff.reset();
            self.servers.made_progress();
        }
        // A client that must not reconnect must not connect to another server either.
        let may_move = !was_accepted || self.options.reconnect != Reconnect::Never;
        let is_about_server = servers::is_about_server(&error);
        if may_move && self.servers.move_on(&error, was_accepted) {
            // A server that is down for a moment is worth a wait, even if the last server of the ring is not.
            self.round_may_pass |=
                self.servers.reference(&error).is_some() || may_pass(&error, true);
            return Ok((error, Duration::ZERO));
        }
        let of_round = std::mem::take(&mut self.round_may_pass) && is_about_server;
        let lost_since = *self.lost_since.get_or_insert(now);
        if self.may_retry(&error, of_round || may_get_further, now - lost_since) {
            let wait = self.backoff.next(random);
            // The last attempt begins when the time of trying ends, not one wait later.
            let left = self.end_of_attempts().map(|end| end - now);
            Ok((error, left.map_or(wait, |left| wait.min(left))))
        } else {
            Err(error)
        }
    }

    /// Returns the time at which the caller must call `handle_timeout`.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.connection.as_ref().and_then(Connection::poll_timeout)
    }

    /// Returns the bytes to write next.
    pub fn output(&self) -> &[u8] {
        self.connection.as_ref().map_or(&[], Connection::output)
    }

    /// Removes the first `count` bytes of the output, which were written.
    pub fn consume_output(&mut self, now: Instant, count: usize) {
        if let Some(connection) = &mut self.connection {
            connection.consume_output(now, count);
        }
    }

    /// Sends a message; see [`Connection::publish`].
    ///
    /// # Errors
    /// Those of [`Connection::publish`]. While messages of a lost session wait, the quota is used up.
    pub fn publish(
        &mut self,
        now: Instant,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        // Older messages go first, so that the order of messages is kept.
        if !self.backlog.is_empty() {
            return Err(PublishError::QuotaUsedUp);
        }
        match &mut self.connection {
            Some(connection) => {
                let (message, qos) = (Arc::clone(&outgoing.message), outgoing.qos);
                let result = connection.publish(now, outgoing);
                if result.is_ok() {
                    self.oversized.published(&message, qos);
                }
                result
            }
            None => Err(PublishError::NotConnected),
        }
    }

    /// Takes the messages that were given up since the last call, because the server closes the connection when it
    /// receives them. The client does not resend them.
    pub fn take_rejected(&mut self) -> Vec<Arc<Message>> {
        self.oversized.take_rejected()
    }

    /// Acknowledges a message that the application has accepted. If its connection is lost, the session records a
    /// message of QoS 2 as accepted, so that a duplicate is not delivered.
    pub fn accept_message(&mut self, now: Instant, delivery: Delivery) {
        let Some(packet_identifier) = delivery.packet_identifier() else {
            // QoS 0 has no acknowledgement.
            return;
        };
        match (&mut self.connection, &mut self.session) {
            (Some(connection), _) => {
                connection.acknowledge(now, packet_identifier, ReasonCode::Success);
            }
            (None, Some(session)) => session.accept_message(delivery),
            (None, None) => debug_assert!(false, "a message came without a connection"),
        }
    }

    /// Records that bytes of the server wait unread; see [`Connection::handle_unread`].
    pub fn handle_unread(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_unread(now);
        }
    }

    /// Ends the connection with DISCONNECT.
    pub fn disconnect(&mut self, now: Instant, disconnect: Disconnect) {
        if let Some(connection) = &mut self.connection {
            connection.disconnect(now, disconnect);
        }
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now.
    pub fn has_room(&self) -> bool {
        self.backlog.is_empty() && self.connection.as_ref().is_some_and(Connection::has_room)
    }

    /// Returns the connection, while there is one.
    pub fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Returns `true` if the server has accepted the connection and it is not lost.
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

    /// Returns the number of messages of QoS 1 and 2 that were published and that the server may not have.
    pub fn unfinished(&self) -> usize {
        let session = self.session.as_ref().map_or(0, Session::unfinished_sent);
        let sent = self
            .connection
            .as_ref()
            .map_or(session, Connection::unfinished_sent);
        sent + self.backlog.len()
    }

    /// Returns the messages of a lost session that wait to be published as new ones, oldest first.
    pub fn backlog(&self) -> impl Iterator<Item = &OutboundMessage> {
        self.backlog.iter()
    }

    /// Leaves the session if the next server is another one: packet identifiers of one server have no meaning at the
    /// other, which may have an old session of this client. Unfinished messages go to the backlog.
    fn leave_session_of_another_server(&mut self) {
        let is_another = self.session_of.is_some() && self.session_of.as_ref() != self.server();
        let Some(session) = self.session.as_mut().filter(|_| is_another) else {
            return;
        };
        // A session without state releases the packet identifiers that the other server may hold of an earlier session.
        let left = std::mem::replace(session, Session::without_state());
        let unfinished: Vec<_> = left
            .sent()
            .filter_map(|(_, outgoing)| outgoing.cloned())
            .collect();
        for outgoing in unfinished.into_iter().rev() {
            self.backlog.push_front(outgoing);
        }
    }

    fn send_backlog(&mut self, now: Instant) -> Result<(), ClientError> {
        while let (Some(connection), Some(outgoing)) = (&mut self.connection, self.backlog.front())
        {
            match connection.publish(now, outgoing.clone()) {
                Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => break,
                result => result?,
            };
            self.backlog.pop_front();
        }
        Ok(())
    }

    /// Returns the deadline of a step of an attempt that has this timeout.
    fn end_of_step(&self, now: Instant, timeout: Duration) -> Instant {
        let end = now + timeout;
        match self.end_of_attempts() {
            Some(limit) => end.min(limit.max(now + SHORTEST_ATTEMPT)),
            None => end,
        }
    }

    /// Returns the time of the last attempt, if the user has set one.
    fn end_of_attempts(&self) -> Option<Instant> {
        let time = match (self.was_connected, self.options.reconnect) {
            // A server that was reached once exists, so a client that reconnects always continues.
            (false, Reconnect::Always) if self.was_reached => return None,
            (false, _) if self.options.wait_for_server.is_zero() => return None,
            (false, _) => self.options.wait_for_server,
            (true, Reconnect::For(limit)) => limit,
            (true, _) => return None,
        };
        Some(self.lost_since? + time)
    }

    fn may_retry(&self, error: &ClientError, of_round: bool, gone_for: Duration) -> bool {
        // A server that has never answered a SUBSCRIBE is broken. Later the connection may be the cause, and another
        // one may be better.
        let is_unanswered = matches!(error, ClientError::Closed(CloseReason::ResponseTimeout(_)));
        if is_unanswered && !self.was_answered {
            return false;
        }
        let awaited = !self.was_connected && gone_for < self.options.wait_for_server;
        (of_round || may_pass(error, awaited || self.was_connected))
            && (awaited
                || match self.options.reconnect {
                    Reconnect::Never => false,
                    Reconnect::For(limit) => self.was_connected && gone_for < limit,
                    Reconnect::Always => self.was_reached,
                })
    }
}

/// Returns `true` if the next attempt may succeed. A server that has rejected the client rejects it again; a server
/// that starts may be busy for a while, which `busy_may_pass` permits.
fn may_pass(error: &ClientError, busy_may_pass: bool) -> bool {
    match error {
        ClientError::Connect(_) | ClientError::Lookup(_) => true,
        // An invalid certificate stays invalid, but a stream that was cut off may be an accident.
        ClientError::Transport(error) => error.kind() != std::io::ErrorKind::InvalidData,
        ClientError::Closed(reason) => match reason {
            CloseReason::ConnectionLost
            | CloseReason::HandshakeTimeout
            | CloseReason::KeepAliveTimeout
            | CloseReason::ResponseTimeout(_) => true,
            CloseReason::Disconnected(disconnect) => is_passing(disconnect.reason_code),
            CloseReason::Refused(connack) => busy_may_pass && is_passing(connack.reason_code),
            _ => false,
        },
        _ => false,
    }
}

/// Returns `true` for reason codes that are about the moment, not about the client or its packets.
fn is_passing(reason_code: ReasonCode) -> bool {
    matches!(
        reason_code,
        ReasonCode::Success
            | ReasonCode::UnspecifiedError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::ServerUnavailable
            | ReasonCode::ServerBusy
            | ReasonCode::ServerShuttingDown
            | ReasonCode::KeepAliveTimeout
            // An earlier CONNECT of this client may arrive after its last one and take its session over.
            | ReasonCode::SessionTakenOver
            | ReasonCode::ReceiveMaximumExceeded
            | ReasonCode::MessageRateTooHigh
            | ReasonCode::QuotaExceeded
            | ReasonCode::AdministrativeAction
            | ReasonCode::ConnectionRateExceeded
            | ReasonCode::MaximumConnectTime
    )
}

/// Returns the time for which the server keeps the session without a connection. `None` if the session never expires.
fn session_expiry(connect: &Connect, connack: &Connack) -> Option<Duration> {
    let asked = connect.properties.session_expiry_interval.unwrap_or(0);
    let seconds = connack.properties.session_expiry_interval.unwrap_or(asked);
    let ends = connect.protocol_version == ProtocolVersion::V5_0 && seconds != u32::MAX;
    ends.then(|| Duration::from_secs(seconds.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CONNECTs as a clean start or not, on connections that are accepted or lost before CONNACK.
    fn clean_starts(script: &[(u64, bool)]) -> Vec<bool> {
        let mut options = Options::new("server", 1883);
        options.connect = Connect::new(ProtocolVersion::V5_0, "c");
        options.connect.clean_start = false;
        options.connect.properties.session_expiry_interval = Some(10);
        let mut core = ClientCore::new(options, Some(Session::default()));
        let mut now = Instant::now();
        let mut seen = Vec::new();
        for (wait, accepted) in script {
            now += Duration::from_secs(*wait);
            core.handle_reached(now).unwrap();
            seen.push(core.output()[9] & 2 != 0);
            if *accepted {
                let mut connack = &[0x20, 3, 0, 0, 0][..];
                let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
                let flow = core.handle_input(now, &mut connack, &mut ignore);
                assert_eq!(flow.unwrap(), ControlFlow::Continue(()));
            }
            let lost = ClientError::Closed(CloseReason::ConnectionLost);
            core.handle_lost(now, lost, 0).unwrap();
        }
        seen
    }

    #[test]
    fn waits_grow_unless_a_connection_was_of_use() {
        let waits = |bytes: &[u8]| {
            let mut core = ClientCore::new(Options::new("server", 1883), None);
            let now = Instant::now();
            let mut wait = || {
                core.handle_reached(now).unwrap();
                let mut input = bytes;
                let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
                let _ = core.handle_input(now, &mut input, &mut ignore).unwrap();
                let lost = ClientError::Closed(CloseReason::ConnectionLost);
                let middle = u32::MAX / 2 + 1;
                core.handle_lost(now, lost, middle)
                    .unwrap()
                    .1
                    .as_secs_f64()
                    .round()
            };
            [wait(), wait(), wait()]
        };
        assert_eq!(waits(&[0x20, 2, 0, 0]), [1.0, 2.0, 4.0]);
        let with_message = [0x20, 2, 0, 0, 0x30, 4, 0, 1, b't', b'x'];
        assert_eq!(waits(&with_message), [1.0, 1.0, 1.0]);
    }

    /// Returns the times of the attempts, and the ends that they were given, of a client whose attempts fail after
    /// `duration` each, from the first attempt or from the loss of its connection.
    fn attempts(
        options: &Options,
        is_lost: bool,
        random: u32,
        duration: Duration,
    ) -> (Vec<f64>, Vec<f64>, f64) {
        let mut core = ClientCore::new(options.clone(), None);
        let mut now = Instant::now();
        let refused = || ClientError::Connect(std::io::ErrorKind::ConnectionRefused.into());
        if is_lost {
            core.begin_attempt(now);
            now += Duration::from_secs(3);
            core.handle_reached(now).unwrap();
            let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
            let _ = core.handle_input(now, &mut &[0x20, 2, 0, 0][..], &mut ignore);
            now += Duration::from_secs(3);
            let lost = ClientError::Closed(CloseReason::ConnectionLost);
            now += core.handle_lost(now, lost, random).unwrap().1;
        }
        let start = core.lost_since.unwrap_or(now);
        let (mut starts, mut ends) = (Vec::new(), Vec::new());
        loop {
            starts.push((now - start).as_secs_f64());
            let end = core.begin_attempt(now);
            ends.push((end - start).as_secs_f64());
            now = end.min(now + duration);
            match core.handle_lost(now, refused(), random) {
                Ok((_, wait)) => now += wait,
                Err(_) => return (starts, ends, (now - start).as_secs_f64()),
            }
        }
    }

    #[test]
    fn attempts_end_after_the_time_that_the_user_has_set() {
        let mut options = Options::new("server", 1883);
        options.wait_for_server = Duration::from_secs(3);
        options.reconnect = Reconnect::For(Duration::from_secs(5));
        for random in [0, u32::MAX / 2, u32::MAX] {
            for (is_lost, limit) in [(false, 3.0), (true, 5.0)] {
                let (starts, _, end) = attempts(&options, is_lost, random, Duration::ZERO);
                assert_eq!((end, starts.last().copied()), (limit, Some(limit)));
                assert!(starts.len() >= 3, "{starts:?}");
                // No answer at all: the attempt ends with the time, too.
                let day = Duration::from_secs(86_400);
                let (_, ends, end) = attempts(&options, is_lost, random, day);
                assert!(end >= limit && end <= limit + 1.0, "{end}");
                assert_eq!(ends.last().copied(), Some(end));
            }
        }
    }

    #[test]
    fn a_single_attempt_and_attempts_without_end_have_the_time_of_a_connection() {
        let mut options = Options::new("server", 1883);
        let now = Instant::now();
        for reconnect in [Reconnect::Never, Reconnect::Always] {
            options.reconnect = reconnect;
            let mut core = ClientCore::new(options.clone(), None);
            assert_eq!(core.begin_attempt(now), now + options.connect_timeout);
        }
    }

    fn refused(reason_code: ReasonCode, reference: Option<&str>) -> ClientError {
        let mut connack = Connack {
            session_present: false,
            reason_code,
            properties: mqtt_codec::ConnackProperties::default(),
        };
        connack.properties.server_reference = reference.map(Into::into);
        ClientError::Closed(CloseReason::Refused(Box::new(connack)))
    }

    /// A client of these servers that has been connected, and what comes of these errors: whether it goes
    /// on, and after which wait at the end.
    fn after(reconnect: Reconnect, names: &[&str], errors: Vec<ClientError>) -> Option<bool> {
        let mut options = Options::new(names[0], 1);
        options.connect = Connect::new(ProtocolVersion::V5_0, "c");
        options.servers = names.iter().map(|name| Server::network(*name, 1)).collect();
        options.reconnect = reconnect;
        options.follow_server_references = true;
        let mut core = ClientCore::new(options, None);
        let now = Instant::now();
        let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
        core.handle_reached(now).unwrap();
        let _ = core.handle_input(now, &mut &[0x20, 3, 0, 0, 0][..], &mut ignore);
        let mut waits = None;
        for error in errors {
            waits = Some(core.handle_lost(now, error, 0).ok()?.1 > Duration::ZERO);
        }
        waits
    }

    #[test]
    fn the_order_of_servers_does_not_decide_whether_there_is_another_attempt() {
        let lost = || ClientError::Closed(CloseReason::ConnectionLost);
        let bad = || ClientError::Transport(std::io::ErrorKind::InvalidData.into());
        let always = |errors| after(Reconnect::Always, &["a", "b"], errors);
        assert_eq!(always(vec![lost(), lost(), bad()]), Some(true));
        assert_eq!(always(vec![lost(), bad(), lost()]), Some(true));
        assert_eq!(always(vec![lost(), bad(), bad()]), None);
        // What is about the client is so in any case.
        let refused = refused(ReasonCode::NotAuthorized, None);
        assert_eq!(always(vec![lost(), lost(), refused]), None);
    }

    #[test]
    fn a_reference_to_a_server_that_is_away_for_a_moment_ends_in_a_wait() {
        let lost = || ClientError::Closed(CloseReason::ConnectionLost);
        let sent = || refused(ReasonCode::UseAnotherServer, Some("b"));
        let mut errors = vec![lost()];
        for _ in 0..8 {
            errors.extend([sent(), lost()]);
        }
        errors.push(sent());
        assert_eq!(after(Reconnect::Always, &["a"], errors), Some(true));
        // Without a reference there is nowhere to go.
        let errors = vec![lost(), refused(ReasonCode::UseAnotherServer, None)];
        assert_eq!(after(Reconnect::Always, &["a"], errors), None);
    }

    #[test]
    fn who_wants_no_lost_connection_back_follows_no_reference() {
        let mut disconnect = Disconnect::new(ReasonCode::UseAnotherServer);
        disconnect.properties.server_reference = Some("b".into());
        let sent = || ClientError::Closed(CloseReason::Disconnected(Box::new(disconnect.clone())));
        assert_eq!(after(Reconnect::Never, &["a"], vec![sent()]), None);
        assert_eq!(after(Reconnect::Always, &["a"], vec![sent()]), Some(false));
    }

    /// Both have a session of this client's, and the identifiers of one mean nothing at the other.
    #[test]
    fn a_session_of_one_server_is_not_gone_on_with_at_another() {
        let mut options = Options::new("a", 1883);
        options.servers.push(Server::network("b", 1883));
        options.connect = Connect::new(ProtocolVersion::V3_1_1, "c");
        options.connect.clean_start = false;
        let mut core = ClientCore::new(options, Some(Session::default()));
        let now = Instant::now();
        let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
        let message = Message::new(mqtt_codec::TopicName::new("t").unwrap(), "x");
        let outgoing = OutboundMessage::new(Arc::new(message), mqtt_codec::QoS::ExactlyOnce);
        let lost = || ClientError::Closed(CloseReason::ConnectionLost);
        let accepted = [0x20, 2, 1, 0];
        core.handle_reached(now).unwrap();
        let _ = core.handle_input(now, &mut &accepted[..], &mut ignore);
        core.publish(now, outgoing).unwrap();
        core.handle_lost(now, lost(), 0).unwrap(); // it is awaited there first
        assert_eq!(core.server(), Some(&Server::network("a", 1883)));
        core.handle_lost(now, lost(), 0).unwrap();
        assert_eq!(core.server(), Some(&Server::network("b", 1883)));
        core.handle_reached(now).unwrap();
        let count = core.output().len();
        core.consume_output(now, count);
        let _ = core.handle_input(now, &mut &accepted[..], &mut ignore);
        // As a new one, under an identifier that b has released.
        assert!(core.output().starts_with(&[0x62, 2, 0, 1]), "PUBREL");
        let count = core.output().len();
        core.consume_output(now, count);
        let _ = core.handle_input(now, &mut &[0x70, 2, 0, 1][..], &mut ignore);
        assert_eq!(core.output(), b"\x34\x06\x00\x01t\x00\x01x");
    }

    #[test]
    fn a_session_that_may_have_been_made_anew_unheard_is_not_gone_on_with() {
        let lost_in_time = clean_starts(&[(0, true), (5, false), (1, true), (1, true)]);
        assert_eq!(lost_in_time, [false; 4]);
        let late = clean_starts(&[(0, true), (10, false), (1, false), (1, true), (1, true)]);
        assert_eq!(late, [false, false, true, true, false]);
    }
}
