//! CONNECT and CONNACK (MQTT 5.0, 3.1 and 3.2), at both ends: how a connection gets its limits and
//! its session.

use std::time::Instant;

use mqtt_codec::{
    Connack, ConnackProperties, Connect, PacketIdentifier, PacketRef, ProtocolVersion, ReasonCode,
};

use super::keep_alive::KeepAlive;
use super::topic_alias::SentAliases;
use super::{Connection, State};
use crate::limits::PeerLimits;
use crate::{CloseReason, Event, Session};

impl Connection {
    /// Server: the answer to [`Event::Connect`]. With a session the client goes on with it; without
    /// one it starts afresh, and the CONNACK says which [MQTT-3.2.2-2, MQTT-3.2.2-3].
    ///
    /// If the connection has ended in the meantime the session is kept all the same, for
    /// [`Connection::take_session`].
    pub fn accept(
        &mut self,
        now: Instant,
        session: Option<Session>,
        properties: ConnackProperties,
    ) {
        let session_present = session.is_some();
        let mut properties = properties;
        self.rare.authentication().answer(&mut properties);
        self.finish_authentication();
        self.session = session.unwrap_or_default();
        self.begin_recording();
        if self.state != State::Answering {
            return;
        }
        if let Some(identifier) = &properties.assigned_client_identifier {
            self.client_identifier = identifier.as_str().into();
        }
        if let Some(seconds) = properties.server_keep_alive {
            self.set_keep_alive(now, seconds);
        }
        let connack = PacketRef::Connack(Box::new(Connack {
            session_present,
            reason_code: ReasonCode::Success,
            properties,
        }));
        if self.try_send(now, &connack).is_err() {
            // Nothing may come before it [MQTT-3.2.0-1], and it may not come [MQTT-3.1.2-24].
            let what = "a maximum packet size that is too small for CONNACK";
            let closed = CloseReason::Protocol(ReasonCode::PacketTooLarge, what);
            self.state = State::Ended;
            self.rare.push_pending(Event::Closed(closed));
            return;
        }
        self.state = State::Connected;
        self.resume(now);
    }

    /// Server: the other answer to [`Event::Connect`]. The connection ends [MQTT-3.2.2-7].
    pub fn refuse(&mut self, now: Instant, reason_code: ReasonCode, properties: ConnackProperties) {
        if self.state == State::Answering {
            let session_present = false; // [MQTT-3.2.2-6]
            self.send(
                now,
                &PacketRef::Connack(Box::new(Connack {
                    session_present,
                    reason_code,
                    properties,
                })),
            );
            self.state = State::Ended;
        }
    }

    /// Server: CONNECT came.
    pub(crate) fn handle_connect(&mut self, now: Instant, connect: Box<Connect>) -> Event<'static> {
        self.version = connect.protocol_version;
        self.client_identifier = connect.client_identifier.as_str().into();
        self.peer = PeerLimits::of_client(&connect);
        self.begin_sent_aliases();
        self.begin_authentication(&connect);
        self.set_keep_alive(now, connect.keep_alive);
        self.session_ends_with_connection =
            connect.properties.session_expiry_interval.unwrap_or(0) == 0;
        self.state = State::Answering;
        Event::Connect(connect)
    }

    /// Client: CONNACK came.
    pub(crate) fn handle_connack(
        &mut self,
        now: Instant,
        connack: Box<Connack>,
    ) -> Option<Event<'static>> {
        if connack.reason_code.is_error() || connack.reason_code != ReasonCode::Success {
            return self.end(now, CloseReason::Refused(connack));
        }
        if !self
            .rare
            .authentication()
            .is_method(&connack.properties.authentication_method)
        {
            let what = "another authentication method than the one in CONNECT";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // [MQTT-4.12.0-5]
        }
        if connack.session_present && (self.clean_start || !self.has_state) {
            let what = "the server resumed a session that this client does not have";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // [MQTT-3.2.2-4]
        }
        if let Some(identifier) = &connack.properties.assigned_client_identifier {
            self.client_identifier = identifier.as_str().into();
        }
        if let Some(seconds) = connack.properties.server_keep_alive {
            self.set_keep_alive(now, seconds); // [MQTT-3.1.2-21]
        }
        self.peer = PeerLimits::of_server(&connack.properties);
        self.begin_sent_aliases();
        self.finish_authentication();
        self.state = State::Connected;
        // 3.1 does not tell: there the server has the session unless it was told to start afresh.
        let goes_on = match self.version {
            ProtocolVersion::V3_1 => !self.clean_start,
            _ => connack.session_present,
        };
        let highest = PacketIdentifier::new(self.config.packet_identifiers);
        let highest = highest.unwrap_or(PacketIdentifier::FIRST);
        let unfinished = if goes_on {
            self.session.sender.limit_identifiers(highest);
            self.resume(now);
            Vec::new()
        } else {
            let mut lost = std::mem::take(&mut self.session);
            self.session.sender.limit_identifiers(highest);
            self.begin_recording();
            lost.sender.take_unfinished()
        };
        Some(Event::Connected {
            connack,
            unfinished,
        })
    }

    fn begin_sent_aliases(&mut self) {
        if self.config.topic_aliases > 0 {
            // [MQTT-3.1.2-26, MQTT-3.2.2-17]
            self.rare.begin().sent_aliases = SentAliases::new(
                self.config.first_topic_alias,
                self.config.topic_aliases,
                self.peer.topic_alias_maximum,
            );
        }
    }

    fn set_keep_alive(&mut self, now: Instant, seconds: u16) {
        self.keep_alive = KeepAlive::new(self.role, seconds, now);
    }
}
