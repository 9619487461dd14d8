//! CONNECT at the broker (MQTT 5.0, 3.1.4): who may come in, whose session it is, and what becomes
//! of a connection that had it before.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{ConnackProperties, Connect, ProtocolVersion, ReasonCode};
use mqtt_session::{Defect, Printable, Session};

use crate::broker::{Broker, ConnectionId};
use crate::client::{Client, ClientKey, Expiry};
use crate::{EVENTS, routing};

impl Broker {
    pub(crate) fn handle_connect(&mut self, now: Instant, id: ConnectionId, mut connect: Connect) {
        let Some(link) = self.connections.get(id) else {
            return;
        };
        let access = self.access(link.listener);
        let admitted = access.admit(&mut connect, link.identity.as_deref());
        let refused = refusal(&connect, admitted);
        let Some(link) = self.connections.get_mut(id) else {
            return;
        };
        if let Some(reason_code) = refused {
            let name = Printable(&connect.client_identifier);
            log::info!(target: EVENTS, "Client {name} [{}] refused: {reason_code}.", link.peer);
            link.connection
                .refuse(now, reason_code, ConnackProperties::default());
            return;
        }
        let (identifier, assigned) = self.client_identifier(&connect);
        let (key, session) = self.find_session(now, &identifier, connect.clean_start);
        self.log_connect(id, &identifier, &connect);
        if let Some(client) = self.clients.get_mut(key) {
            client.connection = Some(id);
            client.expiry = Expiry::of_connect(&connect);
            client.session_ends = None;
            if !Defect::WillNotCancelled.is_planted() {
                client.will_due = None; // the session goes on: not published [MQTT-3.1.3-9]
            }
            client.will = connect.will;
        }
        self.store_client(key);
        let properties = self.connack_properties(assigned.then_some(identifier));
        if let Some(link) = self.connections.get_mut(id) {
            link.client = Some(key);
            link.connection.accept(now, session, properties);
        }
        self.send_queue(now, key);
    }

    /// The identifier of the client, and whether the broker chose it.
    fn client_identifier(&mut self, connect: &Connect) -> (String, bool) {
        if !connect.client_identifier.is_empty() {
            return (connect.client_identifier.clone(), false);
        }
        (format!("auto-{}", uuid((self.random)())), true)
    }

    /// The client with this identifier, with its session if the connection goes on with one. An
    /// older connection of the client ends [MQTT-3.1.4-3], before anything of the new one happens.
    fn find_session(
        &mut self,
        now: Instant,
        identifier: &str,
        clean_start: bool,
    ) -> (ClientKey, Option<Session>) {
        // What time has brought comes first, if its timer is late: an end of the session, a will.
        if let Some(key) = self.by_identifier.get(identifier).copied() {
            self.handle_client_timeout(now, key);
        }
        let old = self.by_identifier.get(identifier).copied();
        if let Some(older) = old.and_then(|key| self.clients.get(key)?.connection) {
            self.end_connection(now, older, ReasonCode::SessionTakenOver);
        }
        // The session may have ended with that connection, or ends now [MQTT-3.1.2-4]; its will is
        // due then.
        if clean_start {
            if let Some(client) = old.and_then(|key| self.clients.get_mut(key)) {
                client.session_ends = Some(now);
            }
            if let Some(key) = old {
                self.handle_client_timeout(now, key);
            }
        }
        match self.by_identifier.get(identifier).copied() {
            Some(key) => {
                let session = self
                    .clients
                    .get_mut(key)
                    .and_then(|client| client.session.take());
                (key, session)
            }
            None => {
                let identifier: Arc<str> = identifier.into();
                let key = self.clients.insert(Client::new(Arc::clone(&identifier)));
                self.by_identifier.insert(identifier, key);
                (key, None)
            }
        }
    }

    fn connack_properties(&self, assigned_client_identifier: Option<String>) -> ConnackProperties {
        ConnackProperties {
            topic_alias_maximum: Some(self.limits.topic_alias_maximum)
                .filter(|maximum| *maximum > 0),
            assigned_client_identifier,
            maximum_packet_size: NonZeroU32::new(self.limits.maximum_packet_size)
                .filter(|size| size.get() < mqtt_codec::MAXIMUM_PACKET_SIZE),
            receive_maximum: NonZeroU16::new(self.limits.receive_maximum)
                .filter(|maximum| maximum.get() < u16::MAX),
            ..ConnackProperties::default()
        }
    }

    fn log_connect(&self, id: ConnectionId, identifier: &str, connect: &Connect) {
        let Some(link) = self.connections.get(id) else {
            return;
        };
        let user_name = match &connect.user_name {
            Some(user_name) => format!(", u'{}'", Printable(user_name)),
            None => String::new(),
        };
        log::info!(
            target: EVENTS,
            "New client connected from {} as {} (p{}, c{}, k{}{user_name}).",
            link.peer,
            Printable(identifier),
            connect.protocol_version.level(),
            u8::from(connect.clean_start),
            connect.keep_alive,
        );
        match &connect.will {
            None => log::debug!(target: EVENTS, "No will message specified."),
            Some(will) => {
                let (message, qos) = (&will.message, will.qos);
                let (length, retain) = (message.payload.len(), u8::from(message.retain));
                log::debug!(target: EVENTS, "Will message specified ({length} bytes) (r{retain}, q{qos}).");
                log::debug!(target: EVENTS, "\t{}", Printable(&message.topic_name));
            }
        }
    }
}

/// Why this CONNECT is not accepted, if it is not.
fn refusal(connect: &Connect, admitted: Result<(), ReasonCode>) -> Option<ReasonCode> {
    if connect.properties.authentication_method.is_some() {
        return Some(ReasonCode::BadAuthenticationMethod); // [MQTT-4.12.0-1]
    }
    if let Err(reason_code) = admitted {
        return Some(reason_code);
    }
    if !routing::is_plain_text(&connect.client_identifier) {
        return Some(ReasonCode::ClientIdentifierNotValid); // [MQTT-3.1.3-8]
    }
    let unnamed = connect.client_identifier.is_empty();
    let must_be_named = match connect.protocol_version {
        ProtocolVersion::V3_1 => true,
        ProtocolVersion::V3_1_1 => !connect.clean_start, // [MQTT-3.1.3-8 of 3.1.1]
        ProtocolVersion::V5_0 => false,
    };
    if unnamed && must_be_named {
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    let will = connect.will.as_ref();
    if will.is_some_and(|will| !routing::is_publishable(&will.message.topic_name)) {
        return Some(ReasonCode::TopicNameInvalid);
    }
    None
}

/// A random UUID (version 4).
fn uuid(random: u128) -> String {
    let mut bytes = random.to_be_bytes();
    let [_, _, _, _, _, _, version, _, variant, ..] = &mut bytes;
    *version = *version & 0x0F | 0x40;
    *variant = *variant & 0x3F | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range| hex.get(range).unwrap_or_default();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_are_uuids() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
