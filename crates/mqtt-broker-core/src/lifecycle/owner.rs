//! Decides which client may resume or end the session with a client identifier.
//!
//! All listeners and users share one set of client identifiers. The first user that connects with an identifier owns
//! its session until the session ends. `connect.rs` rejects other users with 0x85 (Client Identifier not valid).

use std::time::Instant;

use mqtt_session::Excerpt;

use crate::broker::Broker;
use crate::lifecycle::expiry;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::EVENTS;

/// The relation between the sender of a CONNECT and the session with its client identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionOwner {
    /// No session exists, or the session belongs to the same user with the same mount point.
    Same,
    /// The session belongs to another user or to another mount point.
    Other,
    /// The session belongs to a user who may no longer connect and is not connected. The session may be ended.
    Removed,
}

/// Returns the owner of the session with this identifier, compared with a client of this user at this listener. Only
/// the owner may resume or end a session, because another user must neither receive nor delete its messages.
pub(crate) fn owner_of(
    broker: &mut Broker,
    now: Instant,
    identifier: &str,
    user_name: Option<&str>,
    listener: u32,
) -> SessionOwner {
    // A session that has expired must not cause a rejection, even if `handle_timeout` was not called yet.
    if let Some(key) = broker.sessions.by_identifier.get(identifier).copied() {
        expiry::handle_client_timeout(broker, now, key);
    }
    let key = broker.sessions.by_identifier.get(identifier);
    let Some(client) = key.and_then(|key| broker.sessions.clients.get(*key)) else {
        return SessionOwner::Same;
    };
    let mount_point = |listener| broker.auth.policy(listener).mount_point.as_deref();
    let (who, name) = (&client.principal, Excerpt(identifier));
    // The messages of a session are stored without the mount point, so a client with another mount point must not
    // receive them.
    if who.user_name.as_deref() == user_name && mount_point(who.listener) == mount_point(listener) {
        return SessionOwner::Same;
    }
    // A removed user cannot resume the session. Without this rule a session that never expires would block its client
    // identifier forever.
    if client.connection.is_none() && !broker.auth.policy(who.listener).still_admits(who) {
        log::info!(target: EVENTS, "The session of client {name} ends: its user is not allowed to connect any more.");
        return SessionOwner::Removed;
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
