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

use mqtt_codec::{Auth, ConnackProperties, Connect, PacketRef, ReasonCode, Role};

use super::{Connection, State};
use crate::{Event, PublishError};

/// What this connection has to do with extended authentication.
#[derive(Debug, Default)]
pub(crate) struct Authentication {
    /// The method in CONNECT.
    method: Option<String>,
    /// Whether the other end has the turn, or this one, or nobody.
    next_sender: NextSender,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum NextSender {
    /// Nothing is under way.
    #[default]
    Nobody,
    Ours,
    Theirs,
}

impl Authentication {
    pub(crate) const NONE: Self = Self {
        method: None,
        next_sender: NextSender::Nobody,
    };

    pub(crate) fn of_connect(connect: &Connect) -> Self {
        Self {
            method: connect.properties.authentication_method.clone(),
            next_sender: NextSender::Nobody,
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
            self.rare.begin().authentication = Authentication::of_connect(connect);
        }
    }

    /// It has ended well.
    pub(crate) fn finish_authentication(&mut self) {
        self.set_next_sender(NextSender::Nobody);
    }

    fn set_next_sender(&mut self, next_sender: NextSender) {
        if let Some(parts) = self.rare.get_mut() {
            parts.authentication.next_sender = next_sender;
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
            self.rare.authentication().next_sender,
            code,
        ) {
            (Role::Server, State::Answering, _, ReasonCode::ContinueAuthentication)
            | (
                Role::Server,
                State::Connected,
                NextSender::Ours,
                ReasonCode::ContinueAuthentication,
            )
            | (
                Role::Client,
                State::Handshake | State::Connected,
                NextSender::Ours,
                ReasonCode::ContinueAuthentication,
            )
            | (Role::Client, State::Connected, NextSender::Nobody, ReasonCode::ReAuthenticate) => {
                NextSender::Theirs
            }
            (Role::Server, State::Connected, NextSender::Ours, ReasonCode::Success) => {
                NextSender::Nobody
            }
            _ => return Err(PublishError::NotConnected),
        };
        let method = &self.rare.authentication().method;
        if method.is_none() {
            return Err(PublishError::NotConnected); // [MQTT-4.12.0-6, MQTT-4.12.0-7]
        }
        auth.properties.authentication_method.clone_from(method);
        self.try_send(now, &PacketRef::Auth(Box::new(auth)))?;
        self.set_next_sender(after);
        if self.state == State::Answering {
            self.state = State::Authenticating;
        }
        Ok(())
    }

    pub(crate) fn handle_auth(&mut self, now: Instant, auth: Box<Auth>) -> Option<Event<'static>> {
        let method = &self.rare.authentication().method;
        if method.is_none() || *method != auth.properties.authentication_method {
            let what = "AUTH without the authentication method of CONNECT";
            return self.protocol_error(now, ReasonCode::ProtocolError, what); // U5-12, U5-13
        }
        let turn = self.rare.authentication().next_sender;
        let after = match (self.role, self.state, turn, auth.reason_code) {
            (
                Role::Server,
                State::Authenticating | State::Connected,
                NextSender::Theirs,
                ReasonCode::ContinueAuthentication,
            )
            | (Role::Server, State::Connected, NextSender::Nobody, ReasonCode::ReAuthenticate)
            | (
                Role::Client,
                State::Handshake,
                NextSender::Nobody | NextSender::Theirs,
                ReasonCode::ContinueAuthentication,
            )
            | (
                Role::Client,
                State::Connected,
                NextSender::Theirs,
                ReasonCode::ContinueAuthentication,
            ) => NextSender::Ours,
            (Role::Client, State::Connected, NextSender::Theirs, ReasonCode::Success) => {
                NextSender::Nobody
            }
            _ => {
                let what = "AUTH that may not come now";
                return self.protocol_error(now, ReasonCode::ProtocolError, what);
            }
        };
        self.set_next_sender(after);
        if self.state == State::Authenticating {
            self.state = State::Answering;
        }
        Some(Event::Auth(auth))
    }
}
