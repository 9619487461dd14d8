//! [`Connection`]: its states, bytes in and out, time, and the end.
//!
//! CONNECT and CONNACK are in `handshake.rs`, all other packets of the peer in `receive.rs`, what
//! the application wants in `commands.rs`, QoS 1 and 2 in `../delivery/`.

mod authentication;
mod commands;
mod handshake;
mod keep_alive;
mod output;
mod pending_requests;
mod rare_state;
mod receive;
mod topic_alias;

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{
    Ack, Connect, DecodeError, Decoder, Delivery, Disconnect, EncodeError, PacketRef, PacketType,
    ProtocolVersion, QoS, ReasonCode, Role,
};

use self::keep_alive::{KeepAlive, KeepAliveAction};
use self::output::Output;
use self::rare_state::RareState;
use crate::delivery::Resend;
use crate::limits::PeerLimits;
use crate::packet_log::{self, Direction, Observed};
use crate::{Change, CloseReason, Config, Event, InputStep, Session, Traffic};

/// An end of a connection, client or server, from CONNECT to the close.
#[derive(Debug)]
pub struct Connection {
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) version: ProtocolVersion,
    /// Shared with whoever else has to know it.
    pub(crate) client_identifier: Arc<str>,
    pub(crate) session: Session,
    pub(crate) peer: PeerLimits,
    pub(crate) keep_alive: KeepAlive,
    pub(crate) rare: RareState,
    /// Client: what its CONNECT asked for, and whether it has a session to go on with.
    pub(crate) clean_start: bool,
    pub(crate) has_state: bool,
    pub(crate) problem_information: bool,
    /// Server: whether CONNECT asked for a session that ends with its connection.
    pub(crate) session_ends_with_connection: bool,
    /// That of many connections, at a server.
    pub(crate) config: Arc<Config>,
    handshake_deadline: Instant,
    pub(crate) decoder: Decoder,
    pub(crate) output: Output,
    /// How much of a packet that is not complete was there the last time that counted.
    partial: usize,
    /// How many bytes stand before the end of a PINGREQ that is not written yet.
    ping_unwritten: usize,
    traffic: Traffic,
}

/// So many more bytes of a packet that takes long show that the peer is there, as in mosquitto.
const PROGRESS: usize = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Server: CONNECT has not come. Client: CONNACK has not come.
    Handshake,
    /// Server: CONNECT has come, and the application waits for another AUTH.
    Authenticating,
    /// Server: the application has not answered CONNECT.
    Answering,
    Connected,
    Ended,
}

impl Connection {
    /// The client's end. CONNECT is in the output at once.
    ///
    /// `session` is what an earlier connection left, or [`Session::without_state`] if the application has lost that
    /// or did not publish before. Without one the client has no state: a server that claims to go on
    /// with a session is refused [MQTT-3.2.2-4].
    ///
    /// # Errors
    /// If a field of `connect` does not fit into the packet.
    pub fn client(
        connect: &Connect,
        session: Option<Session>,
        config: Config,
        now: Instant,
    ) -> Result<Self, EncodeError> {
        let version = connect.protocol_version;
        let decoder = Decoder::client(version, config.maximum_packet_size);
        let mut connection = Self {
            clean_start: connect.clean_start,
            has_state: session.is_some(),
            client_identifier: connect.client_identifier.as_str().into(),
            session: session.unwrap_or_default(),
            keep_alive: KeepAlive::new(Role::Client, connect.keep_alive, now),
            problem_information: connect
                .properties
                .request_problem_information
                .unwrap_or(true),
            ..Self::new(Role::Client, version, decoder, Arc::new(config), now)
        };
        connection.begin_authentication(connect);
        connection.begin_recording();
        let packet = PacketRef::Connect(Box::new(connect.clone()));
        connection.output.push(&packet, version, u32::MAX)?;
        connection.log(Direction::Sending, &packet);
        Ok(connection)
    }

    /// The server's end, which waits for CONNECT.
    pub fn server(config: impl Into<Arc<Config>>, now: Instant) -> Self {
        let config = config.into();
        let decoder = Decoder::server(config.maximum_packet_size);
        Self::new(Role::Server, ProtocolVersion::V3_1_1, decoder, config, now)
    }

    fn new(
        role: Role,
        version: ProtocolVersion,
        decoder: Decoder,
        config: Arc<Config>,
        now: Instant,
    ) -> Self {
        Self {
            role,
            state: State::Handshake,
            version,
            client_identifier: Arc::default(),
            session: Session::default(),
            peer: PeerLimits::default(),
            keep_alive: KeepAlive::new(role, 0, now),
            rare: RareState::default(),
            problem_information: true,
            clean_start: false,
            has_state: false,
            session_ends_with_connection: false,
            handshake_deadline: now + config.handshake_timeout,
            config,
            decoder,
            output: Output::default(),
            partial: 0,
            ping_unwritten: 0,
            traffic: Traffic::default(),
        }
    }

    /// Takes packets from the front of `input` until one is an event. `None`: what is left in
    /// `input` is the start of a packet, or belongs to a client that was not answered yet; come back
    /// with it and more behind it. The event borrows from `input` alone.
    pub fn handle_input<'a>(&mut self, now: Instant, input: &mut &'a [u8]) -> Option<Event<'a>> {
        loop {
            match self.handle_packet_input(now, input) {
                InputStep::Idle => return None,
                InputStep::Handled => {}
                InputStep::Event(event) => return Some(event),
            }
        }
    }

    /// Takes at most one packet from the front of `input`, for a caller that decides after each packet whether it
    /// takes another one now.
    #[inline]
    pub fn handle_packet_input<'a>(&mut self, now: Instant, input: &mut &'a [u8]) -> InputStep<'a> {
        if let Some(event) = self.rare.next_pending() {
            return InputStep::Event(event);
        }
        match self.state {
            State::Ended => {
                *input = &[];
                return InputStep::Idle;
            }
            State::Answering => return InputStep::Idle,
            State::Handshake | State::Authenticating | State::Connected => {}
        }
        let packet = match self.decoder.decode(input) {
            Ok(Some(packet)) => packet,
            Ok(None) => {
                self.note_progress(now, input.len());
                return InputStep::Idle;
            }
            Err(error) => return self.end(now, CloseReason::Decode(error)).into(),
        };
        self.partial = 0;
        self.keep_alive.received(now);
        self.handle_packet(now, packet).into()
    }

    /// Time has passed: pings, or ends the connection. Events are given by `handle_input`.
    pub fn handle_timeout(&mut self, now: Instant) {
        let event = match self.state {
            State::Handshake | State::Authenticating | State::Answering
                if now >= self.handshake_deadline =>
            {
                self.end(now, CloseReason::HandshakeTimeout)
            }
            State::Connected => self.handle_connected_timeout(now),
            _ => None,
        };
        if let Some(event) = event {
            self.rare.push_pending(event);
        }
    }

    fn handle_connected_timeout(&mut self, now: Instant) -> Option<Event<'static>> {
        if let Some(response) = self.overdue_response(now) {
            return self.end(now, CloseReason::ResponseTimeout(response));
        }
        match self.keep_alive.handle_timeout(now) {
            KeepAliveAction::Nothing => None,
            KeepAliveAction::Ping => {
                self.send(now, &PacketRef::Pingreq);
                self.ping_unwritten = self.output.pending().len();
                None
            }
            KeepAliveAction::TimedOut => self.end(now, CloseReason::KeepAliveTimeout),
        }
    }

    /// Handles that bytes of the peer wait unread because the application accepts nothing now. The silence of the peer
    /// then does not end the connection, and pings go on.
    pub fn handle_unread(&mut self, now: Instant) {
        self.keep_alive.received(now);
        self.restart_response_timeout(now);
    }

    /// When something whole was last received, or a good part of it.
    pub fn last_heard(&self) -> Instant {
        self.keep_alive.last_received()
    }

    /// The socket is gone.
    pub fn handle_close(&mut self) {
        if self.state != State::Ended {
            self.state = State::Ended;
            self.rare
                .push_pending(Event::Closed(CloseReason::ConnectionLost));
        }
    }

    /// When `handle_timeout` wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Handshake | State::Authenticating | State::Answering => {
                Some(self.handshake_deadline)
            }
            State::Connected => {
                let deadlines = [self.keep_alive.deadline(), self.response_deadline()];
                deadlines.into_iter().flatten().min()
            }
            State::Ended => None,
        }
    }

    /// The bytes to write to the socket next.
    pub fn output(&self) -> &[u8] {
        self.output.pending()
    }

    /// The first `count` bytes of the output were written.
    pub fn consume_output(&mut self, now: Instant, count: usize) {
        self.output.consume(count);
        self.note_written_requests(now, count);
        let waits = !self.output.pending().is_empty();
        self.keep_alive.bytes_left(now, count, waits);
        if self.state == State::Connected {
            self.resend(now); // what had no room in the output before
        }
        if self.ping_unwritten > 0 && count > 0 {
            // A PINGREQ behind a large packet: its answer is awaited from when it has left.
            self.ping_unwritten = self.ping_unwritten.saturating_sub(count);
            self.keep_alive.ping_left(now);
        }
    }

    /// Takes what has changed in the session since the last time; nothing, unless
    /// [`Config::records_changes`] is set. Make it durable before the output is written.
    pub fn take_changes(&mut self) -> Vec<Change> {
        self.session.take_changes()
    }

    /// The session, as it is now.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// The application has taken over a message of QoS 2 that an earlier connection of this session brought; see
    /// [`Session::take_over`].
    pub fn accept_message(&mut self, delivery: Delivery) {
        self.session.accept_message(delivery);
    }

    /// Takes what outlives the connection. What the application did not take over is not in it: the
    /// peer sends that again. The output stays.
    pub fn take_session(&mut self) -> Session {
        let mut session = std::mem::take(&mut self.session);
        session.receiver.end_connection();
        session
    }

    /// Returns `true` if messages can be sent.
    pub fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// Returns `true` if the connection has ended. The output may still hold bytes.
    pub fn has_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Returns `true` if a message of QoS 1 or 2 can be sent now. After [`Session::without_state`] the first attempt
    /// may fail nevertheless: it has the server release packet identifiers.
    pub fn has_room(&self) -> bool {
        self.state == State::Connected
            && self.session.sender.has_room(self.window())
            && self.has_identifier()
    }

    /// Returns `true` while answers of the server are due that release packet identifiers of an earlier run.
    pub fn is_reclaiming(&self) -> bool {
        self.session.sender.is_reclaiming()
    }

    /// Messages of QoS 1 and 2 that were sent and are not finished.
    pub fn unfinished_sent(&self) -> usize {
        self.session.unfinished_sent()
    }

    /// The bytes of the payloads of those that may have to be sent again.
    pub fn unfinished_sent_bytes(&self) -> usize {
        let messages = self.session.sent().filter_map(|(_, outbound)| outbound);
        messages
            .map(|outbound| outbound.message.payload.len())
            .sum()
    }

    /// Messages of QoS 2 that were taken over and not released by the peer yet.
    pub fn unfinished_received(&self) -> usize {
        self.session.unfinished_received()
    }

    /// Returns the traffic of the connection so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The protocol version; a server knows it after CONNECT.
    pub fn version(&self) -> ProtocolVersion {
        self.version
    }

    /// The client identifier, as far as it is known.
    pub fn client_identifier(&self) -> &Arc<str> {
        &self.client_identifier
    }

    /// A packet that takes longer than keep alive is no silence [MQTT 5.0, 3.1.2.10].
    fn note_progress(&mut self, now: Instant, available: usize) {
        if available >= self.partial + PROGRESS {
            self.partial = available;
            self.keep_alive.received(now);
            self.restart_response_timeout(now);
        }
    }

    pub(crate) fn begin_recording(&mut self) {
        if self.config.records_changes {
            self.session.record_changes();
        }
    }

    /// The connection is accepted: goes on where the session stopped.
    pub(crate) fn resume(&mut self, now: Instant) {
        self.session.receiver.end_connection();
        self.session.sender.resume();
        self.resend(now);
    }

    /// Resends what the window and the output have room for. A slow peer gets the next message when most of the
    /// one before it has left: with the whole window in the output, its acknowledgements would answer for messages of
    /// a connection that is long over.
    pub(crate) fn resend(&mut self, now: Instant) {
        while self.output.pending().len() < self.config.maximum_unwritten {
            let Some(repeat) = self.session.sender.next_resend(self.window()) else {
                return;
            };
            let (packet_identifier, outbound) = match repeat {
                Resend::Pubrel(packet_identifier) => {
                    let ack = Ack::new(packet_identifier, ReasonCode::Success);
                    self.send(now, &PacketRef::Pubrel(ack));
                    continue;
                }
                Resend::Publish(packet_identifier, outbound) => (packet_identifier, outbound),
            };
            let delivery = outbound.delivery(packet_identifier, true); // [MQTT-3.3.1-1]
            let packet = PacketRef::Publish(outbound.publish(delivery, now));
            if self.try_send(now, &packet).is_err() {
                // Larger than the peer accepts now: as if it were delivered [MQTT-3.1.2-25].
                if delivery.qos() == QoS::ExactlyOnce {
                    // The peer may have it, and hold its identifier: that has to be released.
                    self.session.note(Change::Released(packet_identifier));
                    self.session.sender.release(packet_identifier);
                    let ack = Ack::new(packet_identifier, ReasonCode::Success);
                    self.send(now, &PacketRef::Pubrel(ack));
                } else {
                    self.session.note(Change::Finished(packet_identifier));
                    self.session.sender.drop_exchange(packet_identifier);
                }
                self.rare.push_pending(Event::Delivered {
                    packet_identifier,
                    reason_code: ReasonCode::PacketTooLarge,
                    reason_string: None,
                });
            }
        }
    }

    /// Sends a packet of ours that needs no answer of the caller's. One that is too large even
    /// without its explanations cannot be sent, and is not.
    pub(crate) fn send(&mut self, now: Instant, packet: &PacketRef<'_>) {
        let _ = self.try_send(now, packet);
    }

    pub(crate) fn try_send(
        &mut self,
        now: Instant,
        packet: &PacketRef<'_>,
    ) -> Result<(), EncodeError> {
        if self.state == State::Ended {
            return Ok(()); // rule 2: its bytes go nowhere
        }
        let plain = match self.peer.problem_information {
            true => None,
            false => packet.without_problem_information(), // [MQTT-3.1.2-29]
        };
        let packet = plain.as_ref().unwrap_or(packet);
        self.output
            .push(packet, self.version, self.peer.maximum_packet_size)?;
        self.keep_alive.sent(now);
        self.log(Direction::Sending, packet);
        Ok(())
    }

    pub(crate) fn protocol_error<'a>(
        &mut self,
        now: Instant,
        reason_code: ReasonCode,
        what: &'static str,
    ) -> Option<Event<'a>> {
        self.end(now, CloseReason::Protocol(reason_code, what))
    }

    /// Ends the connection because of the peer, and tells a peer of 5.0 why.
    pub(crate) fn end<'a>(&mut self, now: Instant, reason: CloseReason) -> Option<Event<'a>> {
        self.tell_why(now, &reason);
        self.state = State::Ended;
        Some(Event::Closed(reason))
    }

    fn tell_why(&mut self, now: Instant, reason: &CloseReason) {
        let Some(reason_code) = reason.reason_code() else {
            return;
        };
        // A client may say fewer things than a server.
        let sayable = |code: ReasonCode| code.is_allowed(PacketType::Disconnect, self.role);
        let reason_code = if sayable(reason_code) {
            reason_code
        } else {
            ReasonCode::ProtocolError
        };
        match (self.state, self.role) {
            (State::Connected, _) if self.version == ProtocolVersion::V5_0 => {
                self.send(
                    now,
                    &PacketRef::Disconnect(Box::new(Disconnect::new(reason_code))),
                );
            }
            (State::Handshake | State::Authenticating, Role::Server) => {
                self.refuse_malformed(now, reason, reason_code);
            }
            _ => {}
        }
    }

    /// Answers a malformed CONNECT, and a malformed packet during authentication, with CONNACK (MQTT 5.0, 4.13.1).
    /// MQTT 3.1 and 3.1.1 have no return code for it: there the server only closes the connection, as after a first
    /// packet that is no CONNECT.
    fn refuse_malformed(&mut self, now: Instant, reason: &CloseReason, reason_code: ReasonCode) {
        if self.decoder.version() != Some(ProtocolVersion::V5_0) {
            // A client that asks for a version this server does not speak is told so in the words of that version
            // (wire format, section 4).
            return self.refuse_version(now, reason);
        }
        self.version = ProtocolVersion::V5_0;
        self.state = State::Answering;
        let reason_code = match reason_code.is_allowed(PacketType::Connack, self.role) {
            true => reason_code,
            false => ReasonCode::ProtocolError,
        };
        self.refuse(now, reason_code, Default::default());
    }

    fn refuse_version(&mut self, now: Instant, reason: &CloseReason) {
        if let CloseReason::Decode(DecodeError::UnsupportedProtocolVersion(level)) = reason {
            self.version = match level {
                0..=4 | 0x80.. => ProtocolVersion::V3_1_1,
                5..0x80 => ProtocolVersion::V5_0,
            };
            self.state = State::Answering;
            self.refuse(
                now,
                ReasonCode::UnsupportedProtocolVersion,
                Default::default(),
            );
        }
    }

    #[inline]
    pub(crate) fn log(&mut self, direction: Direction, packet: &PacketRef<'_>) {
        match direction {
            Direction::Received => self.traffic.received.add(packet),
            Direction::Sending => self.traffic.sent.add(packet),
        }
        if self.config.observer.is_some() || packet_log::is_wanted() {
            self.show(direction, packet);
        }
    }

    fn show(&self, direction: Direction, packet: &PacketRef<'_>) {
        let observed = Observed {
            role: self.role,
            direction,
            client_identifier: &self.client_identifier,
            version: self.version,
            packet,
        };
        packet_log::log(&observed);
        if let Some(observer) = &self.config.observer {
            observer.observe(&observed);
        }
    }
}
