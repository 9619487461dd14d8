//! [`Connection`] is the state machine of one connection, for client and server.
//!
//! This file has the parts that both roles share: bytes in and out, timeouts, and accessors. The handshakes are in
//! `client_handshake.rs` and `server_handshake.rs`, the handling of received packets in `receive.rs`, the commands of
//! the application in `commands.rs`, and the end of the connection in `closing.rs`. QoS 1 and 2 are in `../delivery/`.

mod authentication;
mod client_handshake;
mod closing;
mod commands;
mod keep_alive;
mod output;
mod pending_requests;
mod rare_state;
mod receive;
mod sending;
mod server_handshake;
mod state;
mod topic_alias;

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Connect, Decoder, Delivery, PacketRef, ProtocolVersion, Role};

use self::authentication::Authentication;
use self::keep_alive::{KeepAlive, KeepAliveAction};
use self::output::Output;
use self::rare_state::RareState;
use self::state::{Agreement, Phase};
use self::topic_alias::SentAliases;
use crate::error::CloseReason;
use crate::event::{Event, InputStep};
use crate::limits::Config;
use crate::session::{Change, Session};
use crate::traffic::Traffic;

/// An end of a connection, client or server, from CONNECT to the end of the connection.
#[derive(Debug)]
pub struct Connection {
    role: Role,
    phase: Phase,
    agreement: Agreement,
    session: Session,
    keep_alive: KeepAlive,
    rare: RareState,
    /// Limits of this end. All connections of a server share them.
    config: Arc<Config>,
    decoder: Decoder,
    output: Output,
    traffic: Traffic,
}

impl Connection {
    fn new(
        role: Role,
        phase: Phase,
        version: ProtocolVersion,
        decoder: Decoder,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        Self {
            role,
            phase,
            agreement: Agreement::new(version),
            session: Session::default(),
            keep_alive: KeepAlive::new(role, 0, now),
            rare: RareState::default(),
            config,
            decoder,
            output: Output::default(),
            traffic: Traffic::default(),
        }
    }

    /// Handles packets from the front of `input` until one of them causes an event. The event borrows from `input`
    /// only.
    ///
    /// Returns `None` if the rest of `input` is an incomplete packet, or if the application must answer CONNECT first.
    /// The caller must then keep the rest of `input`, and call again with more bytes after it.
    pub fn handle_input<'a>(&mut self, now: Instant, input: &mut &'a [u8]) -> Option<Event<'a>> {
        loop {
            match self.handle_packet_input(now, input) {
                InputStep::Idle => return None,
                InputStep::Handled => {}
                InputStep::Event(event) => return Some(event),
            }
        }
    }

    /// Handles at most one packet from the front of `input`. This method is for a caller that decides after each packet
    /// whether to continue.
    #[inline]
    pub fn handle_packet_input<'a>(&mut self, now: Instant, input: &mut &'a [u8]) -> InputStep<'a> {
        // Events of timeouts and commands come first, because their cause precedes this input.
        if let Some(event) = self.rare.next_pending() {
            return InputStep::Event(event);
        }
        match self.phase {
            Phase::Ended => {
                // The caller must not keep bytes that no call will handle.
                *input = &[];
                return InputStep::Idle;
            }
            // The meaning of the next bytes depends on the answer of the application.
            Phase::AwaitingAnswer { .. } => return InputStep::Idle,
            Phase::AwaitingConnect { .. }
            | Phase::AwaitingConnack { .. }
            | Phase::Authenticating { .. }
            | Phase::Connected => {}
        }
        let packet = match self.decoder.decode(input) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                self.handle_incomplete_packet(now, input.len());
                return InputStep::Idle;
            }
            Err(error) => return self.end(now, CloseReason::Decode(error)).into(),
        };
        // Even a packet that violates the protocol counts as activity of the peer.
        self.keep_alive.handle_packet(now);
        self.handle_packet(now, packet).into()
    }

    /// Sends PINGREQ or ends the connection if a deadline has passed. [`Self::handle_input`] returns the resulting
    /// events.
    pub fn handle_timeout(&mut self, now: Instant) {
        let event = match self.phase.handshake_deadline() {
            Some(deadline) if now >= deadline => self.end(now, CloseReason::HandshakeTimeout),
            None if self.is_connected() => self.handle_connected_timeout(now),
            Some(_) | None => None,
        };
        if let Some(event) = event {
            self.rare.push_pending(event);
        }
    }

    fn handle_connected_timeout(&mut self, now: Instant) -> Option<Event<'static>> {
        // An overdue answer ends the connection before the keep alive is checked, so no PINGREQ precedes DISCONNECT.
        let timeout = self.config.response_timeout;
        let rare = self.rare.get();
        if let Some(response) = rare.and_then(|rare| rare.requests.overdue(now, timeout)) {
            return self.end(now, CloseReason::ResponseTimeout(response));
        }
        match self.keep_alive.handle_timeout(now) {
            KeepAliveAction::Nothing => None,
            KeepAliveAction::Ping => {
                self.send(now, &PacketRef::Pingreq);
                self.keep_alive
                    .handle_queued_ping(self.output.pending().len());
                None
            }
            KeepAliveAction::TimedOut => self.end(now, CloseReason::KeepAliveTimeout),
        }
    }

    /// Records that the application does not read the socket now although the peer has sent bytes. The silence then
    /// does not end the connection. A client still sends PINGREQ.
    pub fn handle_unread(&mut self, now: Instant) {
        self.keep_alive.handle_activity(now);
        self.restart_response_timeout(now);
    }

    /// Records that the socket is closed. This ends the connection.
    pub fn handle_close(&mut self) {
        if !self.has_ended() {
            // The socket is closed, so DISCONNECT is not sent.
            self.phase = Phase::Ended;
            let event = Event::Closed(CloseReason::ConnectionLost);
            self.rare.push_pending(event);
        }
    }

    /// Removes the first `count` bytes of the output after they were written to the socket.
    pub fn consume_output(&mut self, now: Instant, count: usize) {
        self.output.consume(count);
        if let Some(rare) = self.rare.get_mut() {
            rare.requests.handle_written(now, count);
        }
        let has_more = !self.output.pending().is_empty();
        self.keep_alive.handle_written(now, count, has_more);
        if self.is_connected() {
            // Messages to resend wait until the output has room for them.
            self.resend(now);
        }
    }

    /// Takes the changes of the session since the last call. The list is empty unless [`Config::records_changes`] is
    /// set. The caller must make the changes durable before it writes the output.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.session.take_changes()
    }

    /// Records that the application has accepted a message of QoS 2 that an earlier connection of this session has
    /// received; see [`Session::hold_identifier`].
    pub fn hold_identifier(&mut self, delivery: Delivery) {
        self.session.hold_identifier(delivery);
    }

    /// Takes the session, which outlives the connection. The session does not contain messages that the application has
    /// not accepted yet, so the peer resends them. The output is unchanged.
    pub fn take_session(&mut self) -> Session {
        let mut session = std::mem::take(&mut self.session);
        // Even if the application acknowledges these messages later, the peer resends them on the next connection.
        session.receiver.end_connection();
        session
    }

    /// Returns the bytes to write to the socket.
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// Returns the time at which the caller must call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.phase.handshake_deadline();
        if self.is_connected() {
            let timeout = self.config.response_timeout;
            let rare = self.rare.get();
            let response = rare.and_then(|rare| rare.requests.deadline(timeout));
            // After the handshake a connection has two independent deadlines.
            let deadlines = [self.keep_alive.deadline(), response];
            return deadlines.into_iter().flatten().min();
        }
        deadline
    }

    /// Returns the time at which this end last received a packet or a large part of one.
    pub fn last_heard(&self) -> Instant {
        self.keep_alive.last_received()
    }

    /// Returns the current session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Returns `true` if this end can send messages: the server has accepted the connection, and the connection has not
    /// ended.
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Returns `true` if the connection has ended. The output may still contain bytes.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended)
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now.
    ///
    /// After [`Session::without_state`] the first attempt may fail nevertheless, because the attempt first makes the
    /// server release packet identifiers.
    pub fn has_room(&self) -> bool {
        self.is_connected() && self.session.sender.has_room(self.window()) && self.has_identifier()
    }

    /// Returns `true` while the server still has to release packet identifiers of an earlier run.
    pub fn is_reclaiming(&self) -> bool {
        self.session.sender.is_reclaiming()
    }

    /// Returns the number of sent messages of QoS 1 and 2 whose exchange is not finished.
    pub fn unfinished_sent(&self) -> usize {
        self.session.unfinished_sent()
    }

    /// Returns the number of payload bytes in sent messages that the peer has not acknowledged.
    pub fn unfinished_sent_bytes(&self) -> usize {
        let messages = self.session.sent().filter_map(|(_, outbound)| outbound);
        messages
            .map(|outbound| outbound.message.payload.len())
            .sum()
    }

    /// Returns the number of accepted messages of QoS 2 for which PUBREL has not been received.
    pub fn unfinished_received(&self) -> usize {
        self.session.unfinished_received()
    }

    /// Returns the packet counts of the connection so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Returns the protocol version. A server returns MQTT 3.1.1 until it receives CONNECT.
    pub fn version(&self) -> ProtocolVersion {
        self.agreement.version
    }

    /// Returns the client identifier, or an empty string while the identifier is unknown.
    pub fn client_identifier(&self) -> &Arc<str> {
        &self.agreement.client_identifier
    }

    /// Records that `available` bytes of an incomplete packet have arrived.
    fn handle_incomplete_packet(&mut self, now: Instant, available: usize) {
        if self.keep_alive.handle_incomplete_packet(now, available) {
            self.restart_response_timeout(now);
        }
    }

    /// Restarts the timeout of all requests. Their answers may be among bytes that have not been read yet, or may
    /// follow a large message that is still arriving.
    fn restart_response_timeout(&mut self, now: Instant) {
        if let Some(rare) = self.rare.get_mut() {
            rare.requests.restart_timeout(now);
        }
    }

    /// Starts to record changes of the session if [`Config::records_changes`] is set.
    fn begin_recording(&mut self) {
        if self.config.records_changes {
            self.session.record_changes();
        }
    }

    /// Stores the authentication method of CONNECT, if it has one.
    fn begin_authentication(&mut self, connect: &Connect) {
        if connect.properties.authentication_method.is_some() {
            self.rare.begin().authentication = Authentication::of_connect(connect);
        }
    }

    /// Records that the server has accepted the connection. This ends the authentication.
    fn finish_authentication(&mut self) {
        if let Some(rare) = self.rare.get_mut() {
            rare.authentication.finish();
        }
    }

    /// Starts to assign topic aliases to sent messages. The peer limits the number of aliases [MQTT-3.1.2-26,
    /// MQTT-3.2.2-17].
    fn begin_sent_aliases(&mut self) {
        if self.config.topic_aliases > 0 {
            self.rare.begin().sent_aliases = SentAliases::new(
                self.config.first_topic_alias,
                self.config.topic_aliases,
                self.agreement.peer.topic_alias_maximum,
            );
        }
    }

    fn set_keep_alive(&mut self, now: Instant, seconds: u16) {
        self.keep_alive = KeepAlive::new(self.role, seconds, now);
    }

    /// Returns the number of messages of QoS 1 and 2 that may be in flight to the peer.
    fn window(&self) -> u16 {
        let of_peer = self.agreement.peer.receive_maximum;
        self.config.maximum_in_flight.min(of_peer)
    }
}
