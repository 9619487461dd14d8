//! The reasons to reject a CONNECT after its user name was verified: protocol version, client identifier, keep alive,
//! lack of storage or memory, the number of clients, and the will. These checks change nothing.

use mqtt_codec::{Connect, ProtocolVersion, ReasonCode};

use crate::auth::policy::ListenerPolicy;
use crate::resources::Resources;
use crate::sessions::client::{Expiry, Stored};
use crate::sessions::state::Sessions;
use crate::topics::names;

/// Returns the reason code with which this CONNECT must be rejected, or `None` if it may be accepted.
pub(crate) fn connect_reject_reason(
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
    // In these cases the client must have an identifier. In all others the broker assigns one, which CONNACK of 5.0
    // contains.
    let must_be_named = match version {
        ProtocolVersion::V3_1 => true,
        ProtocolVersion::V3_1_1 => !connect.clean_start, // [MQTT-3.1.3-8 of 3.1.1]
        ProtocolVersion::V5_0 => false,
    } || !access.allow_empty_identifier
        || access.user_name_is_identifier;
    if connect.client_identifier.is_empty() && must_be_named {
        return Some(ReasonCode::ClientIdentifierNotValid);
    }
    // CONNACK of 5.0 lowers the keep alive with Server Keep Alive. CONNACK of 3.x cannot, so the client is rejected.
    let is_too_long = |longest: u16| connect.keep_alive == 0 || connect.keep_alive > longest;
    if version != ProtocolVersion::V5_0
        && resources.limits.maximum_keep_alive.is_some_and(is_too_long)
    {
        return Some(ReasonCode::ClientIdentifierNotValid); // return code 2, as mosquitto answers
    }
    let known = sessions
        .by_identifier
        .get(connect.client_identifier.as_str());
    let is_new = known.is_none();
    let known = known.and_then(|key| sessions.clients.get(*key));
    let is_stored = known.is_some_and(|client| client.stored > Stored::Nothing);
    let is_to_be_stored =
        Expiry::of_connect(connect) != Expiry::WithConnection || connect.will.is_some();
    // If the store is above `max_store_bytes`, clients may still resume stored sessions, because the store shrinks
    // when their messages are delivered. On a full disk they may not, because even a delivery makes mutations. The
    // client gets reason code 0x97 in 5.0, and return code 3 in 3.x.
    let is_refused = if is_stored {
        resources.is_store_full
    } else {
        is_to_be_stored && resources.is_storage_exhausted()
    };
    if is_refused {
        return Some(match version {
            ProtocolVersion::V5_0 => ReasonCode::QuotaExceeded,
            _ => ReasonCode::ServerUnavailable,
        });
    }
    // A client with a session may reconnect even without memory, because the delivery of its messages frees memory.
    if is_new && resources.is_memory_exhausted() {
        return Some(ReasonCode::ServerBusy);
    }
    let is_full = |maximum: usize| sessions.clients.len() >= maximum;
    if is_new && resources.limits.maximum_clients.is_some_and(is_full) {
        return Some(ReasonCode::ServerBusy);
    }
    will_reject_reason(resources, access, connect)
}

/// Returns the reason code with which a CONNECT must be rejected because of its will.
fn will_reject_reason(
    resources: &Resources,
    access: &ListenerPolicy,
    connect: &Connect,
) -> Option<ReasonCode> {
    let will = connect.will.as_ref()?;
    if !names::is_publishable(&will.message.topic_name) {
        return Some(ReasonCode::TopicNameInvalid);
    }
    if will.message.payload.len() > resources.limits.maximum_payload {
        return Some(match connect.protocol_version {
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
