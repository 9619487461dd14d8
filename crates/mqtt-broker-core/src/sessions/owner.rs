//! The owners of sessions: which client may resume or end the session with an identifier.
//!
//! Identifiers are the same for all listeners and users, so the first user with an identifier owns it until the session
//! ends. CONNECT, in `connect.rs`, asks here and answers the client.

use std::time::Instant;

use mqtt_session::Excerpt;

use crate::broker::Broker;
use crate::log_lines::EVENTS;
use crate::log_lines::limiter::LogEvent;
use crate::sessions::expiry;

/// The owner of the session that a client asks for by its identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionOwner {
    /// No session exists, or it belongs to the same user behind the same mount point.
    Same,
    /// Another user, or a client behind another mount point.
    Other,
    /// A user who is not allowed to connect any more, and is not connected.
    Gone,
}

/// Returns the owner of the session with this identifier, as seen by a client of this user at this listener. Only the
/// owner may resume or end a session, since another user must neither receive nor delete its messages.
pub(crate) fn owner_of(
    broker: &mut Broker,
    now: Instant,
    identifier: &str,
    user_name: Option<&str>,
    listener: u32,
) -> SessionOwner {
    // The timer of an expired session may be late. It must not cause a rejection.
    if let Some(key) = broker.sessions.by_identifier.get(identifier).copied() {
        expiry::handle_client_timeout(broker, now, key);
    }
    let key = broker.sessions.by_identifier.get(identifier);
    let Some(client) = key.and_then(|key| broker.sessions.clients.get(*key)) else {
        return SessionOwner::Same;
    };
    let mount_point = |listener| broker.auth.policy(listener).mount_point.as_deref();
    let (who, name) = (&client.principal, Excerpt(identifier));
    if who.user_name.as_deref() == user_name && mount_point(who.listener) == mount_point(listener) {
        return SessionOwner::Same;
    }
    // A removed user never resumes the session, which would block the identifier forever.
    if client.connection.is_none() && !broker.auth.policy(who.listener).knows(who) {
        log::info!(target: EVENTS, "The session of client {name} ends: its user is not allowed to connect any more.");
        return SessionOwner::Gone;
    }
    if broker
        .stats
        .log_limiter
        .admits(now, LogEvent::OtherOwner, identifier)
    {
        log::info!(target: EVENTS, "Rejected client {name}: the session of this client identifier belongs to another user or mount point.");
    }
    SessionOwner::Other
}
