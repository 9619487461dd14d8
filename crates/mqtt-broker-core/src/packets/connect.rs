//! Handles CONNECT (MQTT 5.0, 3.1.4): authenticates the client, finds its session, and ends an older connection with
//! the same client identifier.
//!
//! The steps are `handle_connect`, the password check if the listener has users, and `accept`. `admission.rs` has the
//! reasons to reject a CONNECT that do not depend on the password. `connack.rs` makes the properties of CONNACK. The
//! caller of the core hashes the password, because a password hash is slow by design and would delay all other
//! connections.

use std::time::Instant;

use mqtt_codec::{ConnackProperties, Connect, ReasonCode, TopicName};
use mqtt_session::{Excerpt, Session};

use crate::auth::check_queue::PeerGroup;
use crate::auth::policy::AuthDecision;
use crate::auth::state::Auth;
use crate::broker::Broker;
use crate::connection::Connections;
use crate::durability::record;
use crate::durability::state::Durability;
use crate::keys::{ClientKey, ConnectionId};
use crate::lifecycle::owner::{self, SessionOwner};
use crate::lifecycle::takeover;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::{CONNECTIONS, EVENTS};
use crate::log_lines::words::{Name, Words};
use crate::packets::{admission, connack, wait};
use crate::routing::{permissions, sending};
use crate::sessions::client::{Expiry, Stored};
use crate::sessions::state::Sessions;
use crate::stats::state::Stats;
use crate::task::Task;
use crate::topics::names;

/// Handles a CONNECT: accepts or rejects it, or leaves it unanswered until its password is checked. If too many
/// passwords wait, returns the connection that the caller must reject, which may be another one than `id`.
pub(crate) fn handle_connect(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    mut connect: Connect,
) -> Option<ConnectionId> {
    // This check comes first, because a deferred CONNECT is handled again from the start.
    if is_stored_session(&broker.sessions, &broker.durability, &connect)
        && wait::is_throttled(broker, id)
    {
        broker
            .connections
            .defer_packet(id, Task::Connect(Box::new(connect)));
        return None;
    }
    let connection = broker.connections.known(id)?;
    if connect.properties.authentication_method.is_some() {
        // rbroker has no method of extended authentication [MQTT-4.12.0-1].
        refuse(
            &mut broker.connections,
            &mut broker.stats,
            now,
            id,
            &connect,
            ReasonCode::BadAuthenticationMethod,
        );
        return None;
    }
    let access = broker.auth.policy(connection.listener);
    match access.admit(&mut connect, connection.identity.as_deref()) {
        AuthDecision::Admitted => accept(broker, now, id, connect),
        AuthDecision::Refused(reason_code) => refuse(
            &mut broker.connections,
            &mut broker.stats,
            now,
            id,
            &connect,
            reason_code,
        ),
        AuthDecision::Check => {
            let connection = broker.connections.known_mut(id)?;
            connection.pending_connect = Some(Box::new(connect));
            let group = PeerGroup::of(&connection.peer);
            return broker.auth.checks.push(group, id).err();
        }
    }
    None
}

/// Returns `true` if the CONNECT makes mutations: its will or its session must be stored, or the store contains an
/// older session or will of this client identifier.
fn is_stored_session(sessions: &Sessions, durability: &Durability, connect: &Connect) -> bool {
    let known = sessions
        .by_identifier
        .get(connect.client_identifier.as_str());
    let known = known.and_then(|key| sessions.clients.get(*key));
    let is_kept = connect.will.is_some() || Expiry::of_connect(connect) != Expiry::WithConnection;
    durability.mutations.is_some()
        && (is_kept || known.is_some_and(|client| client.stored > Stored::Nothing))
}

/// Rejects a CONNECT: logs the reason, and queues a CONNACK with the reason code. The connection ends after that.
pub(crate) fn refuse(
    connections: &mut Connections,
    stats: &mut Stats,
    now: Instant,
    id: ConnectionId,
    connect: &Connect,
    reason_code: ReasonCode,
) {
    if let Some(connection) = connections.get_mut(id) {
        if stats
            .log_limiter
            .admits_from(now, LogEvent::Refused, &connection.peer)
        {
            let name = Name(&connect.client_identifier);
            let words = Words(reason_code);
            log::info!(target: EVENTS, "Client {name} [{}] disconnected: {words}.", connection.peer);
        }
        connection
            .protocol
            .refuse(now, reason_code, ConnackProperties::default());
    }
}

/// Accepts a client whose user name is verified: finds its session and answers with CONNACK. Rejects the CONNECT if
/// `admission.rs`, the topic of its will, or the owner of the session requires that.
pub(crate) fn accept(broker: &mut Broker, now: Instant, id: ConnectionId, mut connect: Connect) {
    let Some(connection) = broker.connections.known(id) else {
        return;
    };
    let listener = connection.listener;
    if let Err(reason_code) = prepare(broker, now, listener, &mut connect) {
        let (connections, stats) = (&mut broker.connections, &mut broker.stats);
        return refuse(connections, stats, now, id, &connect, reason_code);
    }
    let (identifier, is_assigned) =
        connack::client_identifier(&broker.auth, &mut broker.sessions, listener, &connect);
    let user_name = connect.user_name.as_deref();
    // The owner is checked before an older connection ends, because another user must not be able to end it.
    let owner = owner::owner_of(broker, now, &identifier, user_name, listener);
    if owner == SessionOwner::Other {
        connect.client_identifier = identifier; // `refuse` logs this identifier
        let (connections, stats) = (&mut broker.connections, &mut broker.stats);
        let reason_code = ReasonCode::ClientIdentifierNotValid;
        return refuse(connections, stats, now, id, &connect, reason_code);
    }
    let starts_anew = connect.clean_start || owner == SessionOwner::Removed;
    let (key, mut session) = takeover::find_session(broker, now, id, &identifier, starts_anew);
    let (connections, stats) = (&broker.connections, &mut broker.stats);
    log_connect(connections, stats, now, id, &identifier, &connect);
    let longest = broker.resources.limits.longest_session;
    let expiry = Expiry::of_connect(&connect).at_most(longest);
    let properties = ConnackProperties {
        assigned_client_identifier: is_assigned.then(|| identifier.clone()),
        // CONNACK must have the interval only if it differs from the one in CONNECT (MQTT 5.0, 3.2.2.3.2).
        session_expiry_interval: (expiry != Expiry::of_connect(&connect))
            .then(|| expiry.interval()),
        response_information: connack::response_information(&connect, &identifier),
        ..connack::connack_properties(&broker.auth, &broker.resources, listener, &connect)
    };
    let is_bridge = connect.is_bridge;
    connect_client(broker, id, key, listener, expiry, connect);
    if let Some(session) = &mut session {
        let (sessions, durability) = (&broker.sessions, &broker.durability);
        withdraw_denied(&broker.auth, sessions, durability, key, session);
    }
    if let Some(connection) = broker.connections.known_mut(id) {
        connection.client = Some(key);
        connection.is_bridge = is_bridge;
        broker.stats.counters.connected();
        connection.protocol.accept(now, session, properties);
    }
    // CONNACK must be the first packet [MQTT-3.2.0-1], so the queue follows after `accept`.
    sending::send_queue(broker, now, key);
}

/// Checks the CONNECT of a client whose user name is verified. Sets the client identifier if the user name becomes the
/// identifier, and adds the mount point to the topic name of the will.
///
/// # Errors
/// Returns the reason code with which the CONNECT must be rejected.
fn prepare(
    broker: &mut Broker,
    now: Instant,
    listener: u32,
    connect: &mut Connect,
) -> Result<(), ReasonCode> {
    let access = broker.auth.policy(listener);
    if access.user_name_is_identifier {
        connect.client_identifier = connect.user_name.clone().unwrap_or_default();
    }
    let (sessions, resources) = (&broker.sessions, &broker.resources);
    let reject_reason = admission::connect_reject_reason(sessions, resources, access, connect);
    reject_reason.map_or(Ok(()), Err)?;
    if let Some(topic_name) = mount_will(connect, access.mount_point.as_deref())? {
        broker.stats.log_denied_will(now, connect, &topic_name);
    }
    Ok(())
}

/// Sets the connection, the principal, the expiry and the will of a client that connects. Records the part of the
/// client that must be stored.
fn connect_client(
    broker: &mut Broker,
    id: ConnectionId,
    key: ClientKey,
    listener: u32,
    expiry: Expiry,
    connect: Connect,
) {
    if let Some(client) = broker.sessions.known_mut(key) {
        // `store_client` holds back the output of this connection, so the connection is set before.
        client.connection = Some(id);
        client.principal.user_name = connect.user_name;
        client.principal.listener = listener;
        client.expiry = expiry;
        client.session_ends = None;
        client.will_due = None; // the session is resumed, so the will is not published [MQTT-3.1.3-9]
        client.will = connect.will.map(Box::new);
    }
    // CONNACK waits for the commit of this mutation, because the client relies on its session after CONNACK.
    let (sessions, durability) = (&mut broker.sessions, &mut broker.durability);
    record::store_client(&mut broker.connections, sessions, durability, key);
}

/// Removes from the session the messages in flight that the client may no longer receive, so that they are not resent.
/// The ACL may have changed since the broker sent them.
fn withdraw_denied(
    auth: &Auth,
    sessions: &Sessions,
    durability: &Durability,
    key: ClientKey,
    session: &mut Session,
) {
    let Some(client) = sessions.known(key) else {
        return;
    };
    let (rules, who) = (&auth.policies, &client.principal);
    // With QoS 2 the client may have received the message and stored its packet identifier. So the session still sends
    // PUBREL.
    session.withdraw(durability.mutations.is_some(), |outgoing| {
        permissions::may_receive(rules, who, &outgoing.message)
    });
}

/// Logs the accepted CONNECT in the words of mosquitto, with protocol level, Clean Start, keep alive and user name.
fn log_connect(
    connections: &Connections,
    stats: &mut Stats,
    now: Instant,
    id: ConnectionId,
    identifier: &str,
    connect: &Connect,
) {
    let Some(connection) = connections.known(id) else {
        return;
    };
    if !stats
        .log_limiter
        .admits_from(now, LogEvent::Connected, &connection.peer)
    {
        return;
    }
    let user_name = match &connect.user_name {
        Some(user_name) => format!(", u'{}'", Excerpt(user_name)),
        None => String::new(),
    };
    let kind = if connect.is_bridge {
        "bridge"
    } else {
        "client"
    };
    log::info!(
        target: CONNECTIONS,
        "New {kind} connected from {} as {} (p{}, c{}, k{}{user_name}).",
        connection.peer,
        Excerpt(identifier),
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
            log::debug!(target: EVENTS, "\t{}", Excerpt(&message.topic_name));
        }
    }
}

/// Prefixes the topic name of the will with the mount point. Removes a will to a reserved topic, and returns the topic
/// name of the removed will. This must happen before the mount point is added, because the mount point would turn the
/// reserved topic into an ordinary one.
///
/// # Errors
/// Returns reason code 0x90 (Topic Name invalid) if the topic name with the mount point is too long.
fn mount_will(
    connect: &mut Connect,
    mount_point: Option<&str>,
) -> Result<Option<TopicName>, ReasonCode> {
    let Some(will) = &mut connect.will else {
        return Ok(None);
    };
    let topic_name = &will.message.topic_name;
    if names::is_reserved(topic_name, &connect.client_identifier) {
        let topic_name = topic_name.clone();
        connect.will = None;
        return Ok(Some(topic_name));
    }
    if let Some(mount_point) = mount_point {
        will.message.topic_name = TopicName::new(&format!("{mount_point}{topic_name}"))
            .map_err(|_| ReasonCode::TopicNameInvalid)?;
    }
    Ok(None)
}
