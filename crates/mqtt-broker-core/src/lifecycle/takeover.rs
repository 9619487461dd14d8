//! Finds the session of a client that connects, and ends an older connection of the same client.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::ReasonCode;
use mqtt_session::Session;

use crate::broker::Broker;
use crate::keys::{ClientKey, ConnectionId};
use crate::lifecycle::{close, expiry};
use crate::sessions::client::Client;

/// Returns the client with this identifier, and its session if the connection resumes one. First ends an older
/// connection with the same client identifier [MQTT-3.1.4-3], so that its session and its will are settled before the
/// new connection uses the session.
pub(crate) fn find_session(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    identifier: &str,
    clean_start: bool,
) -> (ClientKey, Option<Session>) {
    // The session may have expired or the will may be due, although `handle_timeout` was not called yet.
    if let Some(key) = broker.sessions.by_identifier.get(identifier).copied() {
        expiry::end_times(broker, now, key);
    }
    let old = broker.sessions.by_identifier.get(identifier).copied();
    if let Some(older) = old.and_then(|key| broker.sessions.clients.get(key)?.connection) {
        close::end_connection(broker, now, older, ReasonCode::SessionTakenOver);
        // If too many mutations wait for a commit, `end_connection` defers the will and the end of the session. Both
        // must happen now, so that the new connection does not resume a session that has ended.
        if let Some(key) = old {
            expiry::end_times(broker, now, key);
        }
    }
    // A clean start ends a session that still exists [MQTT-3.1.2-4]. The will of this session is due then.
    if clean_start {
        if let Some(client) = old.and_then(|key| broker.sessions.clients.get_mut(key)) {
            client.session_ends = Some(now);
        }
        if let Some(key) = old {
            let expired = broker.stats.counters.expired;
            expiry::end_times(broker, now, key);
            broker.stats.counters.expired = expired; // a session that a clean start ends has not expired
        }
    }
    match broker.sessions.by_identifier.get(identifier).copied() {
        Some(key) => {
            let session = broker
                .sessions
                .clients
                .get_mut(key)
                .and_then(|client| client.session.take());
            let session = session.map(|session| *session);
            (key, session)
        }
        None => {
            // The client shares the identifier's memory with the connection, if both have the same identifier.
            let connection = broker.connections.get(id);
            let known = connection.map(|connection| connection.protocol.client_identifier());
            let known = known.filter(|known| ***known == *identifier);
            let identifier = known.map_or_else(|| identifier.into(), Arc::clone);
            let key = broker
                .sessions
                .clients
                .insert(Client::new(Arc::clone(&identifier)));
            broker.sessions.by_identifier.insert(identifier, key);
            (key, None)
        }
    }
}
