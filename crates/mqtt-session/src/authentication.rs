//! Extended authentication (MQTT 5.0, 4.12): AUTH packets are passed between the two applications;
//! here it is only judged whether one may come or go now, and that the method stays the same.
//!
//! ```text
//!  Client                    Server
//!  CONNECT (method) ───────> Event::Connect
//!  Event::Auth <─── AUTH 0x18 authenticate       (any number of times)
//!  authenticate ── AUTH 0x18 ──> Event::Auth
//!                  CONNACK <─ accept
//!  authenticate ── AUTH 0x19 ──> Event::Auth     (again, while connected)
//!  Event::Auth <─── AUTH 0x00 authenticate
//! ```

use std::time::Instant;

use mqtt_codec::{Auth, ConnackProperties, Connect, Packet, ReasonCode, Role};

use crate::connection::{Connection, State};
use crate::{Event, PublishError};

/// What this connection has to do with extended authentication.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    /// The method in CONNECT.
    method: Option<String>,
    /// Whether the other end has the turn, or this one, or nobody.
    turn: Turn,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Nothing is under way.
    #[default]
    Nobody,
    Ours,
    Theirs,
}

impl Authentication {
    pub(crate) const NONE: Self = Self {
        method: None,
        turn: Turn::Nobody,
    };

    pub(crate) fn of_connect(connect: &Connect) -> Self {
        Self {
            method: connect.properties.authentication_method.clone(),
            turn: Turn::Nobody,
        }
    }

    /// Server: a CONNACK that accepts names the method, and only if CONNECT did
    /// [MQTT-4.12.0-5, MQTT-4.12.0-6].
    pub(crate) fn answer(&self, properties: &mut ConnackProperties) {
        properties.authentication_method.clone_from(&self.method);
        if self.method.is_none() {
            properties.authentication_data = None;
        }
    }

    pub(crate) fn is_method(&self, method: &Option<String>) -> bool {
        self.method == *method
    }
}

impl Connection {
    /// CONNECT says whether there will be any.
    pub(crate) fn begin_authentication(&mut self, connect: &Connect) {
        if connect.properties.authentication_method.is_some() {
            self.seldom.begin().authentication = Authentication::of_connect(connect);
        }
    }

    /// It has ended well.
    pub(crate) fn finish_authentication(&mut self) {
        self.turn_is(Turn::Nobody);
    }

    fn turn_is(&mut self, turn: Turn) {
        if let Some(parts) = self.seldom.get_mut() {
            parts.authentication.turn = turn;
        }
    }

    /// Sends AUTH. The server asks for more with 0x18 (continue authentication), before `accept` or
    /// after the client has begun again, and then says 0x00 (success); the client answers with 0x18,
    /// or begins again with 0x19 (re-authenticate) on a connection that is accepted. The method is
    /// that of CONNECT, whatever `auth` says.
    ///
    /// # Errors
    /// If this AUTH may not be sent now, or CONNECT had no method; or if it cannot be written.
    pub fn authenticate(&mut self, now: Instant, mut auth: Auth) -> Result<(), PublishError> {
        let code = auth.reason_code;
        let after = match (
            self.role,
            self.state,
            self.seldom.authentication().turn,
            code,
        ) {
            (Role::Server, State::Answering, _, ReasonCode::ContinueAuthentication)
            | (Role::Server, State::Connected, Turn::Ours, ReasonCode::ContinueAuthentication)
            | (
                Role::Client,
                State::Handshake | State::Connected,
                Turn::Ours,
                ReasonCode::ContinueAuthentication,
            )
            | (Role::Client, State::Connected, Turn::Nobody, ReasonCode::ReAuthenticate) => {
                Turn::Theirs
            }
            (Role::Server, State::Connected, Turn::Ours, ReasonCode::Success) => Turn::Nobody,
            _ => return Err(PublishError::NotConnected),
        };
        let method = &self.seldom.authentication().method;
        if method.is_none() {
            return Err(PublishError::NotConnected); // [MQTT-4.12.0-6, MQTT-4.12.0-7]
        }
        auth.properties.authentication_method.clone_from(method);
        self.try_send(now, &Packet::Auth(Box::new(auth)))?;
        self.turn_is(after);
        if self.state == State::Answering {
            self.state = State::Authenticating;
        }
        Ok(())
    }

    pub(crate) fn handle_auth(&mut self, now: Instant, auth: Box<Auth>) -> Option<Event<'static>> {
        let method = &self.seldom.authentication().method;
        if method.is_none() || *method != auth.properties.authentication_method {
            let what = "AUTH without the authentication method of CONNECT";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // U5-12, U5-13
        }
        let turn = self.seldom.authentication().turn;
        let after = match (self.role, self.state, turn, auth.reason_code) {
            (
                Role::Server,
                State::Authenticating | State::Connected,
                Turn::Theirs,
                ReasonCode::ContinueAuthentication,
            )
            | (Role::Server, State::Connected, Turn::Nobody, ReasonCode::ReAuthenticate)
            | (
                Role::Client,
                State::Handshake,
                Turn::Nobody | Turn::Theirs,
                ReasonCode::ContinueAuthentication,
            )
            | (Role::Client, State::Connected, Turn::Theirs, ReasonCode::ContinueAuthentication) => {
                Turn::Ours
            }
            (Role::Client, State::Connected, Turn::Theirs, ReasonCode::Success) => Turn::Nobody,
            _ => {
                let what = "AUTH that may not come now";
                return self.protocol_error(now, ReasonCode::ProtocolError, what);
            }
        };
        self.turn_is(after);
        if self.state == State::Authenticating {
            self.state = State::Answering;
        }
        Some(Event::Auth(auth))
    }
}
