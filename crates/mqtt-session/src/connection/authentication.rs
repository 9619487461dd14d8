//! Enhanced authentication (MQTT 5.0, 4.12). The applications of both ends exchange AUTH packets. The connection checks
//! only that an AUTH is allowed at this point, and that all AUTH packets have the authentication method of CONNECT.
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

use mqtt_codec::{ConnackProperties, Connect, PacketType, ReasonCode, Role};

use super::state::Phase;

/// State of the enhanced authentication.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    /// Authentication method in CONNECT. `None` if CONNECT has no method; AUTH is then not allowed [MQTT-4.12.0-6].
    method: Option<String>,
    next_sender: NextSender,
}

/// The end that must send the next AUTH.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextSender {
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

    /// Returns the state at the start of a connection with this CONNECT.
    pub(super) fn of_connect(connect: &Connect) -> Self {
        Self {
            method: connect.properties.authentication_method.clone(),
            next_sender: NextSender::Nobody,
        }
    }

    /// Returns the authentication method of CONNECT.
    pub(super) fn method(&self) -> Option<&String> {
        self.method.as_ref()
    }

    /// Records that the server has accepted the connection. This ends the authentication.
    pub(super) fn finish(&mut self) {
        self.next_sender = NextSender::Nobody;
    }

    /// Records the end that must send the next AUTH.
    pub(super) fn set_next_sender(&mut self, next_sender: NextSender) {
        self.next_sender = next_sender;
    }

    /// Server: adds the authentication method of CONNECT to a CONNACK that accepts the connection. If CONNECT has no
    /// method, removes the authentication data [MQTT-4.12.0-5, MQTT-4.12.0-6].
    pub(super) fn add_to_connack(&self, properties: &mut ConnackProperties) {
        properties.authentication_method.clone_from(&self.method);
        if self.method.is_none() {
            properties.authentication_data = None;
        }
    }

    /// Returns `true` if `method` equals the authentication method of CONNECT.
    pub(super) fn is_method(&self, method: &Option<String>) -> bool {
        self.method == *method
    }

    /// Returns the end that must send the next AUTH after this end sends one with `reason_code`. Returns `None` if this
    /// end must not send this AUTH.
    pub(super) fn after_sending(
        &self,
        role: Role,
        phase: Phase,
        reason_code: ReasonCode,
    ) -> Option<NextSender> {
        use NextSender::{Nobody, Peer, ThisEnd};
        use ReasonCode::{ContinueAuthentication, ReAuthenticate, Success};
        // Only a client may send 0x19, and only a server 0x00. For received packets the decoder makes the same check.
        if !reason_code.is_allowed(PacketType::Auth, role) {
            return None;
        }
        match (phase, self.next_sender, reason_code) {
            // A server may send 0x18 before it answers CONNECT. Otherwise an end may send 0x18 only when it is the next
            // sender.
            (Phase::AwaitingAnswer { .. }, _, ContinueAuthentication)
            | (Phase::AwaitingConnack { .. } | Phase::Connected, ThisEnd, ContinueAuthentication) => {
                Some(Peer)
            }
            (Phase::Connected, Nobody, ReAuthenticate) => Some(Peer),
            (Phase::Connected, ThisEnd, Success) => Some(Nobody),
            _ => None,
        }
    }

    /// Returns the end that must send the next AUTH after the peer has sent one with `reason_code`. Returns `None` if
    /// the peer must not send this AUTH.
    pub(super) fn after_receiving(
        &self,
        phase: Phase,
        reason_code: ReasonCode,
    ) -> Option<NextSender> {
        use NextSender::{Nobody, Peer, ThisEnd};
        use ReasonCode::{ContinueAuthentication, ReAuthenticate, Success};
        match (phase, self.next_sender, reason_code) {
            // The first AUTH of a server answers CONNECT, so the client has sent no AUTH before.
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
