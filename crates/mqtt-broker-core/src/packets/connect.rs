//! CONNECT at the broker (MQTT 5.0, 3.1.4): the authentication, the owner of the session, and the end of an older
//! connection of the same client.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{ConnackProperties, Connect, ProtocolVersion, QoS, ReasonCode, TopicName};
use mqtt_session::{Excerpt, Session};

use crate::auth::Auth;
use crate::auth::check_queue::{PasswordCheck, PeerGroup};
use crate::auth::policy::{AuthDecision, ListenerPolicy};
use crate::broker::Broker;
use crate::connection::{ConnectionId, Connections};
use crate::durability::{Durability, mutation};
use crate::flow::throttle;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::words::{Name, Words};
use crate::log_lines::{CONNECTIONS, EVENTS};
use crate::packets::input::Task;
use crate::packets::{close, input};
use crate::resources::Resources;
use crate::routing::{delivery, sending};
use crate::sessions::client::{Client, ClientKey, Expiry, Stored};
use crate::sessions::owner::SessionOwner;
use crate::sessions::{Sessions, expiry, owner};
use crate::stats::Stats;
use crate::topics::names;

/// Does the work of [`Broker::poll_check`].
pub(crate) fn poll_check(
    auth: &mut Auth,
    connections: &Connections,
) -> Option<(ConnectionId, PasswordCheck)> {
    loop {
        let id = auth.checks.pop()?;
        let connection = connections.get(id);
        let check = connection.and_then(|connection| {
            let connect = connection.waiting.as_ref()?;
            Some(PasswordCheck {
                listener: connection.listener,
                user_name: connect.user_name.clone()?,
                password: connect.password.clone()?,
            })
        });
        debug_assert!(check.is_some(), "a check is taken out with its connection");
        if let Some(check) = check {
            return Some((id, check));
        }
    }
}

/// Does the work of [`Broker::handle_checked`].
pub(crate) fn handle_checked(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    result: Result<(), ReasonCode>,
) {
    let connection = broker.connections.get_mut(id);
    if let Some(connect) = connection.and_then(|connection| connection.waiting.take()) {
        match result {
            Ok(()) => accept(broker, now, id, *connect),
            Err(reason_code) => refuse(
                &mut broker.connections,
                &mut broker.stats,
                now,
                id,
                &connect,
                reason_code,
            ),
        }
        input::handle_pending(broker, now, id);
        throttle::resume(&mut broker.connections, &mut broker.flow, id);
    }
}

pub(crate) fn handle_connect(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    mut connect: Connect,
) {
    if is_stored_session(&broker.sessions, &broker.durability, &connect)
        && throttle::is_throttled(broker, id)
    {
        return broker
            .connections
            .put_off(id, Task::Connect(Box::new(connect)));
    }
    let Some(connection) = broker.connections.known(id) else {
        return;
    };
    if connect.properties.authentication_method.is_some() {
        // [MQTT-4.12.0-1]
        return refuse(
            &mut broker.connections,
            &mut broker.stats,
            now,
            id,
            &connect,
            ReasonCode::BadAuthenticationMethod,
        );
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
            let Some(connection) = broker.connections.known_mut(id) else {
                return;
            };
            connection.waiting = Some(Box::new(connect));
            let group = PeerGroup::of(&connection.peer);
            if let Err(refused) = broker.auth.checks.push(group, id) {
                handle_checked(broker, now, refused, Err(ReasonCode::ServerBusy));
            }
        }
    }
}

/// Returns `true` if the CONNECT makes mutations: a session or a will is stored, or was.
fn is_stored_session(sessions: &Sessions, durability: &Durability, connect: &Connect) -> bool {
    let known = sessions
        .by_identifier
        .get(connect.client_identifier.as_str());
    let known = known.and_then(|key| sessions.clients.get(*key));
    let is_kept = connect.will.is_some() || Expiry::of_connect(connect) != Expiry::WithConnection;
    durability.mutations.is_some()
        && (is_kept || known.is_some_and(|client| client.stored > Stored::Nothing))
}

fn refuse(
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

/// Accepts a client whose user name is verified: finds its session and answers with CONNACK, or rejects the CONNECT for
/// another reason.
fn accept(broker: &mut Broker, now: Instant, id: ConnectionId, mut connect: Connect) {
    let Some(listener) = broker
        .connections
        .get(id)
        .map(|connection| connection.listener)
    else {
        return;
    };
    let access = broker.auth.policy(listener);
    if access.user_name_is_identifier {
        connect.client_identifier = connect.user_name.clone().unwrap_or_default();
    }
    if let Some(reason_code) =
        connect_reject_reason(&broker.sessions, &broker.resources, access, &connect)
    {
        return refuse(
            &mut broker.connections,
            &mut broker.stats,
            now,
            id,
            &connect,
            reason_code,
        );
    }
    match mount_will(&mut connect, access.mount_point.as_deref()) {
        Err(reason_code) => {
            return refuse(
                &mut broker.connections,
                &mut broker.stats,
                now,
                id,
                &connect,
                reason_code,
            );
        }
        Ok(Some(topic_name)) => broker.stats.log_denied_will(now, &connect, &topic_name),
        Ok(None) => {}
    }
    let (identifier, assigned) =
        client_identifier(&broker.auth, &mut broker.sessions, listener, &connect);
    let owner = owner::owner_of(
        broker,
        now,
        &identifier,
        connect.user_name.as_deref(),
        listener,
    );
    if owner == SessionOwner::Other {
        connect.client_identifier = identifier; // for the log
        return refuse(
            &mut broker.connections,
            &mut broker.stats,
            now,
            id,
            &connect,
            ReasonCode::ClientIdentifierNotValid,
        );
    }
    let starts_anew = connect.clean_start || owner == SessionOwner::Gone;
    let (key, mut session) = find_session(broker, now, id, &identifier, starts_anew);
    log_connect(
        &broker.connections,
        &mut broker.stats,
        now,
        id,
        &identifier,
        &connect,
    );
    let asked = Expiry::of_connect(&connect);
    let expiry = asked.at_most(broker.resources.limits.longest_session);
    let properties = ConnackProperties {
        // MQTT 5.0, 3.2.2.3.2: CONNACK must name the interval if it differs from the one of CONNECT.
        session_expiry_interval: (expiry != asked).then(|| expiry.interval()),
        response_information: response_information(&connect, &identifier),
        ..connack_properties(
            &broker.auth,
            &broker.resources,
            listener,
            &connect,
            assigned.then_some(&identifier),
        )
    };
    if let Some(client) = broker.sessions.clients.get_mut(key) {
        client.connection = Some(id);
        client.principal.user_name = connect.user_name;
        client.principal.listener = listener;
        client.expiry = expiry;
        client.session_ends = None;
        client.will_due = None; // the session is resumed, so the will is not published [MQTT-3.1.3-9]
        client.will = connect.will.map(Box::new);
    }
    mutation::store_client(
        &mut broker.connections,
        &mut broker.sessions,
        &mut broker.durability,
        key,
    );
    if let Some(session) = &mut session {
        withdraw_denied(
            &broker.auth,
            &broker.sessions,
            &broker.durability,
            key,
            session,
        );
    }
    if let Some(connection) = broker.connections.get_mut(id) {
        connection.client = Some(key);
        connection.is_bridge = connect.is_bridge;
        broker.stats.counters.connected();
        connection.protocol.accept(now, session, properties);
    }
    sending::send_queue(broker, now, key);
}

/// Returns the client identifier, and `true` if the broker has assigned it.
fn client_identifier(
    auth: &Auth,
    sessions: &mut Sessions,
    listener: u32,
    connect: &Connect,
) -> (String, bool) {
    if !connect.client_identifier.is_empty() {
        return (connect.client_identifier.clone(), false);
    }
    let random = (sessions.random)();
    let prefix = &auth.policy(listener).identifier_prefix;
    (format!("{prefix}{}", uuid(random)), true)
}

/// Removes messages in flight that the client may not receive any more, so that they are not resent.
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
    session.withdraw(durability.mutations.is_some(), |outgoing| {
        delivery::may_receive(rules, who, &outgoing.message)
    });
}

/// Returns the client with this identifier, and its session if the connection resumes one. Ends an older connection of
/// the client [MQTT-3.1.4-3] before anything of the new one happens.
fn find_session(
    broker: &mut Broker,
    now: Instant,
    id: ConnectionId,
    identifier: &str,
    clean_start: bool,
) -> (ClientKey, Option<Session>) {
    // The timer of the client may be late. Its session may have ended, and its will may be due.
    if let Some(key) = broker.sessions.by_identifier.get(identifier).copied() {
        expiry::end_times(broker, now, key);
    }
    let old = broker.sessions.by_identifier.get(identifier).copied();
    if let Some(older) = old.and_then(|key| broker.sessions.clients.get(key)?.connection) {
        close::end_connection(broker, now, older, ReasonCode::SessionTakenOver);
        // The will must not wait for room here: the new connection must not resume a session that has ended.
        if let Some(key) = old {
            expiry::end_times(broker, now, key);
        }
    }
    // The session may have ended with that connection. A clean start ends it now [MQTT-3.1.2-4], and its will is due.
    if clean_start {
        if let Some(client) = old.and_then(|key| broker.sessions.clients.get_mut(key)) {
            client.session_ends = Some(now);
        }
        if let Some(key) = old {
            let expired = broker.stats.counters.expired;
            expiry::end_times(broker, now, key);
            broker.stats.counters.expired = expired; // a clean start is no expiry
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

fn connack_properties(
    auth: &Auth,
    resources: &Resources,
    listener: u32,
    connect: &Connect,
    assigned_client_identifier: Option<&String>,
) -> ConnackProperties {
    let limits = &auth.policy(listener).limits;
    let aliases = limits
        .topic_alias_maximum
        .unwrap_or(resources.limits.topic_alias_maximum);
    let longest = resources.limits.maximum_keep_alive;
    let is_longer = |longest: &u16| connect.keep_alive == 0 || connect.keep_alive > *longest;
    ConnackProperties {
        topic_alias_maximum: Some(aliases).filter(|maximum| *maximum > 0),
        assigned_client_identifier: assigned_client_identifier.cloned(),
        server_keep_alive: longest.filter(is_longer),
        maximum_qos: limits.maximum_qos.filter(|qos| *qos < QoS::ExactlyOnce),
        retain_available: (!resources.limits.retain_available).then_some(false),
        maximum_packet_size: NonZeroU32::new(resources.limits.maximum_packet_size)
            .filter(|size| size.get() < mqtt_codec::MAXIMUM_PACKET_SIZE),
        receive_maximum: NonZeroU16::new(resources.limits.receive_maximum)
            .filter(|maximum| maximum.get() < u16::MAX),
        ..ConnackProperties::default()
    }
}

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

/// Returns the reason code if this CONNECT must be rejected.
fn connect_reject_reason(
    sessions: &Sessions,
    resources: &Resources,
    access: &ListenerPolicy,
    connect: &Connect,
) -> Option<ReasonCode> {
    let version = connect.protocol_version;
    let versions = access.limits.versions.as_ref();
    if versions.is_some_and(|versions| !versions.contains(&version)) {
        return Some(ReasonCode::UnsupportedProtocolVersion);
    }
    if !names::is_plain_text(&connect.client_identifier) {
        return Some(ReasonCode::ClientIdentifierNotValid); // [MQTT-3.1.3-8]
    }
    let must_be_named = match version {
        ProtocolVersion::V3_1 => true,
        ProtocolVersion::V3_1_1 => !connect.clean_start, // [MQTT-3.1.3-8 of 3.1.1]
        ProtocolVersion::V5_0 => false,
    } || !access.allow_empty_identifier
        || access.user_name_is_identifier;
    if connect.client_identifier.is_empty() && must_be_named {
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    // CONNACK of 5.0 has a Server Keep Alive. Clients of 3.x must be rejected.
    let is_too_long = |longest: u16| connect.keep_alive == 0 || connect.keep_alive > longest;
    if version != ProtocolVersion::V5_0
        && resources.limits.maximum_keep_alive.is_some_and(is_too_long)
    {
        return Some(ReasonCode::ClientIdentifierNotValid); // code 2, as mosquitto does it
    }
    let known = sessions
        .by_identifier
        .get(connect.client_identifier.as_str());
    let is_new = known.is_none();
    let known = known.and_then(|key| sessions.clients.get(*key));
    let is_stored = known.is_some_and(|client| client.stored > Stored::Nothing);
    let is_to_be_stored =
        Expiry::of_connect(connect) != Expiry::WithConnection || connect.will.is_some();
    // Above the limit of the store, sessions can be resumed: the store shrinks when their messages are delivered.
    let is_refused = match is_stored {
        true => resources.is_full,
        false => is_to_be_stored && resources.lacks_storage(),
    };
    if is_refused {
        return Some(match version {
            ProtocolVersion::V5_0 => ReasonCode::QuotaExceeded,
            _ => ReasonCode::ServerUnavailable,
        });
    }
    // A client with a session may reconnect: its messages take memory until they are delivered.
    if is_new && resources.lacks_memory() {
        return Some(ReasonCode::ServerBusy);
    }
    let is_full = |maximum: usize| sessions.clients.len() >= maximum;
    if is_new && resources.limits.maximum_clients.is_some_and(is_full) {
        return Some(ReasonCode::ServerBusy);
    }
    let will = connect.will.as_ref()?;
    if !names::is_publishable(&will.message.topic_name) {
        return Some(ReasonCode::TopicNameInvalid);
    }
    if will.message.payload.len() > resources.limits.maximum_payload {
        return Some(match version {
            ProtocolVersion::V5_0 => ReasonCode::PacketTooLarge,
            _ => ReasonCode::NotAuthorized, // return code 5, as mosquitto answers
        });
    }
    if access
        .limits
        .maximum_qos
        .is_some_and(|maximum| will.qos > maximum)
    {
        return Some(ReasonCode::QoSNotSupported); // [MQTT-3.2.2-12]
    }
    let is_refused = will.message.retain && !resources.limits.retain_available;
    is_refused.then_some(ReasonCode::RetainNotSupported) // [MQTT-3.2.2-13]
}

/// Puts the mount point before the topic of the will. Removes a will to a reserved topic, which the mount point would
/// turn into an ordinary one, and returns its topic.
///
/// # Errors
/// If the topic is too long with the mount point.
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

/// Returns the topic prefix for responses to this client, if it asks for one (MQTT 5.0, 3.2.2.3.15). No other client
/// gets the same prefix.
fn response_information(connect: &Connect, identifier: &str) -> Option<String> {
    connect
        .properties
        .request_response_information
        .filter(|is_wanted| *is_wanted)?;
    let mut topic = String::from("response/");
    for c in identifier.chars() {
        match c {
            // What would be another level, a wildcard, or the escape itself.
            '/' | '+' | '#' | '%' => topic += &format!("%{:02X}", u32::from(c)),
            c => topic.push(c),
        }
    }
    // The client must be able to append levels.
    (topic.len() < usize::from(u16::MAX) / 2).then_some(topic)
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
    fn response_information_is_one_level_for_each_client() {
        let mut connect = Connect::new(ProtocolVersion::V5_0, "");
        assert_eq!(response_information(&connect, "a"), None);
        connect.properties.request_response_information = Some(true);
        let given = response_information(&connect, "a/#%b").unwrap();
        assert_eq!(given, "response/a%2F%23%25b");
        assert_eq!(response_information(&connect, &"+".repeat(20_000)), None);
    }

    #[test]
    fn identifiers_are_uuids() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
