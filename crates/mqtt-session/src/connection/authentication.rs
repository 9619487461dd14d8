//! Enhanced authentication (MQTT 5.0, 4.12). The applications of both ends exchange AUTH packets. The connection only checks
//! that an AUTH is allowed at this point, and that the authentication method stays the same.
//!
//! ```text
//!  Client                                  Server
//!  CONNECT (method) ─────────────────────> Event::Connect
//!  Event::Auth <──────────── AUTH 0x18 ─── authenticate       (any number of times)
//!  authenticate ─── AUTH 0x18 ───────────> Event::Auth
//!  Event::Connected <─────── CONNACK ───── accept
//!
//!  authenticate ─── AUTH 0x19 ───────────> Event::Auth        (again, while connected)
//!  Event::Auth <──────────── AUTH 0x00 ─── authenticate
//! ```

use std::time::Instant;

use mqtt_codec::{Auth, ConnackProperties, Connect, PacketRef, PacketType, ReasonCode};

use super::Connection;
use super::state::Phase;
use crate::{Event, PublishError};

/// The state of the enhanced authentication.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    /// Authentication method in CONNECT. `None` if CONNECT has none, and then AUTH is not allowed.
    method: Option<String>,
    next_sender: NextSender,
}

/// The end that must send the next AUTH.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum NextSender {
    /// No authentication is in progress.
    #[default]
    Nobody,
    ThisEnd,
    Peer,
}

impl Authentication {
    pub(super) const NONE: Self = Self {
        method: None,
        next_sender: NextSender::Nobody,
    };

    fn of_connect(connect: &Connect) -> Self {
        Self {
            method: connect.properties.authentication_method.clone(),
            next_sender: NextSender::Nobody,
        }
    }

    /// Server: adds the authentication method of CONNECT to a CONNACK that accepts the connection, and removes authentication
    /// data if CONNECT had no method [MQTT-4.12.0-5, MQTT-4.12.0-6].
    pub(super) fn add_to_connack(&self, properties: &mut ConnackProperties) {
        properties.authentication_method.clone_from(&self.method);
        if self.method.is_none() {
            properties.authentication_data = None;
        }
    }

    /// Returns `true` if this is the authentication method of CONNECT.
    pub(super) fn is_method(&self, method: &Option<String>) -> bool {
        self.method == *method
    }

    /// Returns the end that must send the AUTH after one that this end sends now, or `None` if this end must not send it.
    fn after_sending(&self, phase: Phase, reason_code: ReasonCode) -> Option<NextSender> {
        use NextSender::{Nobody, Peer, ThisEnd};
        use ReasonCode::{ContinueAuthentication, ReAuthenticate, Success};
        match (phase, self.next_sender, reason_code) {
            // A server continues before it answers CONNECT, and both ends continue when it is their turn.
            (Phase::AwaitingAnswer { .. }, _, ContinueAuthentication)
            | (Phase::AwaitingConnack { .. } | Phase::Connected, ThisEnd, ContinueAuthentication) => {
                Some(Peer)
            }
            (Phase::Connected, Nobody, ReAuthenticate) => Some(Peer),
            (Phase::Connected, ThisEnd, Success) => Some(Nobody),
            _ => None,
        }
    }

    /// Returns the end that must send the AUTH after one that the peer has sent now, or `None` if the peer must not send it.
    fn after_receiving(&self, phase: Phase, reason_code: ReasonCode) -> Option<NextSender> {
        use NextSender::{Nobody, Peer, ThisEnd};
        use ReasonCode::{ContinueAuthentication, ReAuthenticate, Success};
        match (phase, self.next_sender, reason_code) {
            // The first AUTH of a server comes without a turn of the client before.
            (Phase::AwaitingConnack { .. }, Nobody | Peer, ContinueAuthentication)
            | (Phase::Authenticating { .. } | Phase::Connected, Peer, ContinueAuthentication) => {
                Some(ThisEnd)
            }
            (Phase::Connected, Nobody, ReAuthenticate) => Some(ThisEnd),
            (Phase::Connected, Peer, Success) => Some(Nobody),
            _ => None,
        }
    }
}

impl Connection {
    /// Stores the authentication method of CONNECT, if it has one.
    pub(super) fn begin_authentication(&mut self, connect: &Connect) {
        if connect.properties.authentication_method.is_some() {
            self.rare.begin().authentication = Authentication::of_connect(connect);
        }
    }

    /// Records that the server has accepted the connection, which ends the authentication.
    pub(super) fn finish_authentication(&mut self) {
        self.set_next_sender(NextSender::Nobody);
    }

    fn set_next_sender(&mut self, next_sender: NextSender) {
        if let Some(rare) = self.rare.get_mut() {
            rare.authentication.next_sender = next_sender;
        }
    }

    /// Sends AUTH with the authentication method of CONNECT, whatever method `auth` has.
    ///
    /// A server sends 0x18 (continue authentication) in answer to [`Event::Connect`] or [`Event::Auth`], and 0x00 (success)
    /// when a re-authentication is complete. A client answers with 0x18, and starts a re-authentication with 0x19
    /// (re-authenticate) after the server has accepted the connection.
    ///
    /// # Errors
    /// Returns an error if this AUTH is not allowed now, if CONNECT had no authentication method, or if the packet cannot be
    /// encoded.
    pub fn authenticate(&mut self, now: Instant, mut auth: Auth) -> Result<(), PublishError> {
        let authentication = self.rare.authentication();
        let is_of_role = auth.reason_code.is_allowed(PacketType::Auth, self.role);
        let next_sender = authentication
            .after_sending(self.phase, auth.reason_code)
            .filter(|_| is_of_role)
            .ok_or(PublishError::NotConnected)?;
        if authentication.method.is_none() {
            return Err(PublishError::NotConnected); // [MQTT-4.12.0-6, MQTT-4.12.0-7]
        }
        let method = &mut auth.properties.authentication_method;
        method.clone_from(&authentication.method);
        self.try_send(now, &PacketRef::Auth(Box::new(auth)))?;
        self.set_next_sender(next_sender);
        if let Phase::AwaitingAnswer { deadline } = self.phase {
            self.phase = Phase::Authenticating { deadline };
        }
        Ok(())
    }

    /// Handles AUTH.
    pub(super) fn handle_auth(&mut self, now: Instant, auth: Box<Auth>) -> Option<Event<'static>> {
        let authentication = self.rare.authentication();
        let method = &auth.properties.authentication_method;
        if authentication.method.is_none() || !authentication.is_method(method) {
            let violation = "AUTH without the authentication method of CONNECT";
            return self.protocol_error(now, ReasonCode::ProtocolError, violation); // U5-12, U5-13
        }
        let Some(next_sender) = authentication.after_receiving(self.phase, auth.reason_code) else {
            let violation = "AUTH that may not come now";
            return self.protocol_error(now, ReasonCode::ProtocolError, violation);
        };
        self.set_next_sender(next_sender);
        if let Phase::Authenticating { deadline } = self.phase {
            self.phase = Phase::AwaitingAnswer { deadline };
        }
        Some(Event::Auth(auth))
    }
}
