//! The end of a connection: keeps the session, starts the timers of session expiry and will, and logs the reason.
//!
//! All ends of a connection lead to `handle_closed`: DISCONNECT of the client, a lost network connection, a timeout, a
//! protocol error, and the decision of the broker. The connection stays in the table until the caller has closed its
//! socket, because the last output still has to be written.

use std::time::Instant;

use mqtt_codec::{Disconnect, PacketType, ReasonCode, Role};
use mqtt_session::{CloseReason, Excerpt};

use crate::auth::check_queue::PeerGroup;
use crate::broker::Broker;
use crate::connection::ConnectionState;
use crate::durability::record;
use crate::keys::ConnectionId;
use crate::lifecycle::expiry;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::CONNECTIONS;
use crate::log_lines::words::{ENDED_BY_BROKER, Ending};
use crate::sessions::client::Expiry;

/// Ends every connection with reason code 0x8B (Server shutting down). Without a store, publishes all wills first.
pub(crate) fn shut_down(broker: &mut Broker, now: Instant) {
    broker.stats.log_limiter.finish();
    // The wills are published before the connections end, because the subscribers are still connected now.
    if broker.durability.mutations.is_none() {
        expiry::publish_all_wills(broker, now);
    }
    let ids: Vec<_> = broker.connections.keys().collect();
    for id in ids {
        if let Some(connection) = broker.connections.get_mut(id) {
            connection
                .protocol
                .disconnect(now, Disconnect::new(ReasonCode::ServerShuttingDown));
            broker.connections.mark_changed(id);
        }
    }
}

/// Ends the connections of clients that the policies no longer admit, with reason code 0x87 (Not authorized).
pub(crate) fn end_unadmitted(broker: &mut Broker, now: Instant) {
    let is_out = |connection: &ConnectionState| {
        // A connection without an accepted CONNECT has no principal to check.
        let client = connection
            .client
            .and_then(|key| broker.sessions.clients.get(key));
        client.is_some_and(|client| {
            !broker
                .auth
                .policy(connection.listener)
                .still_admits(&client.principal)
        })
    };
    let connections = broker.connections.iter();
    let out: Vec<_> = connections
        .filter(|(_, connection)| is_out(connection))
        .map(|(id, _)| id)
        .collect();
    for id in out {
        end_connection(broker, now, id, ReasonCode::NotAuthorized);
    }
}

/// Ends a connection. A client of 5.0 gets a DISCONNECT with this reason code.
pub(crate) fn end_connection(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    reason: ReasonCode,
) {
    let Some(connection) = broker.connections.get_mut(id) else {
        return; // the connection may have been removed since the caller got its key
    };
    debug_assert!(reason.is_allowed(PacketType::Disconnect, Role::Server));
    connection.protocol.disconnect(now, Disconnect::new(reason));
    broker.connections.mark_changed(id);
    handle_closed(
        broker,
        now,
        id,
        &CloseReason::Protocol(reason, ENDED_BY_BROKER),
    );
}

/// Handles the end of a connection, whichever side has ended it. The client keeps its session. The Session Expiry
/// Interval and the Will Delay Interval begin.
pub(crate) fn handle_closed(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    reason: &CloseReason,
) {
    // The changes of the last exchanges must be recorded while the connection still has its client.
    record::note_changes(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        id,
    );
    let Some(connection) = broker.connections.known_mut(id) else {
        return;
    };
    if connection.pending_connect.take().is_some() {
        // The password need not be hashed any more. `handle_checked` ignores the result of a hash in progress.
        broker
            .auth
            .checks
            .remove(PeerGroup::of(&connection.peer), id);
    }
    // The peer does not wait for the answer to an unfinished packet any more.
    connection.task = None;
    if std::mem::take(&mut connection.is_publishing) {
        broker.flow.fan_outs.forget_unbegun(&broker.connections, id);
    }
    let Some(connection) = broker.connections.known_mut(id) else {
        return;
    };
    let Some(key) = connection.client.take() else {
        if broker
            .stats
            .log_limiter
            .admits_from(now, LogEvent::Disconnected, &connection.peer)
        {
            log::info!(target: CONNECTIONS, "Client <unknown> [{}] disconnected{}.", connection.peer, Ending(reason));
        }
        return;
    };
    broker.stats.counters.connected -= 1;
    let session = connection.protocol.take_session();
    let peer = &connection.peer;
    let Some(client) = broker.sessions.known_mut(key) else {
        return;
    };
    if broker
        .stats
        .log_limiter
        .admits_from(now, LogEvent::Disconnected, peer)
    {
        let name = Excerpt(&client.identifier);
        log::info!(target: CONNECTIONS, "Client {name} [{peer}] disconnected{}.", Ending(reason));
    }
    // The session is kept here until the client resumes it or until it expires.
    client.connection = None;
    client.session = Some(Box::new(session));
    if let CloseReason::Disconnected(disconnect) = reason {
        if disconnect.reason_code == ReasonCode::Success {
            client.will = None; // DISCONNECT with 0x00 withdraws the will [MQTT-3.14.4-3]
        }
        match disconnect.properties.session_expiry_interval {
            // A client whose CONNECT had Session Expiry Interval 0 must not change it now (MQTT 5.0, 3.14.2.2.2).
            Some(seconds) if client.expiry != Expiry::WithConnection => {
                let longest = broker.resources.limits.longest_session;
                client.expiry = Expiry::of_interval(seconds).at_most(longest);
            }
            _ => {}
        }
    }
    expiry::handle_disconnected(broker, now, key);
}

/// Ends connections whose mutations cannot be stored. The output that waits for the commit is discarded, and the client
/// gets reason code 0x97 (Quota exceeded).
pub(crate) fn end_uncommitted(broker: &mut Broker, now: Instant, ids: &[ConnectionId]) {
    for id in ids.iter().copied() {
        if broker.connections.has_ended(id) {
            // The connection ended before. Its last output waits for the commit until the server closes the socket.
            continue;
        }
        // A packet may be written in part already, so the output before the gate must stay in front of DISCONNECT.
        let kept = broker.connections.output(id).len();
        let reason_code = ReasonCode::QuotaExceeded;
        if let Some(connection) = broker.connections.get_mut(id) {
            connection
                .protocol
                .disconnect_without(now, kept, reason_code);
        }
        let what = "the broker has no room to store messages of this client";
        handle_closed(broker, now, id, &CloseReason::Protocol(reason_code, what));
        if let Some(connection) = broker.connections.get_mut(id) {
            connection.commit_gate = None;
        }
        broker.connections.mark_changed(id);
    }
    let connections = &broker.connections;
    let commit_gate = |id: &ConnectionId| {
        let connection = connections.get(*id);
        connection.is_some_and(|connection| connection.commit_gate.is_some())
    };
    broker.durability.waiters.committing.retain(commit_gate);
    broker.durability.waiters.next.retain(commit_gate);
}
