//! Publishes a message or a will: retains it if RETAIN is set, and delivers it to its subscribers, immediately or in
//! slices.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, PacketIdentifier, PublishRef, Will};
use mqtt_session::Excerpt;

use crate::auth::acl::AclAction;
use crate::broker::Broker;
use crate::flow::fan_outs::{Origin, Publication};
use crate::keys::ClientKey;
use crate::log_lines::limiter::LogEvent;
use crate::log_lines::targets::EVENTS;
use crate::routing::routed::Routed;
use crate::routing::{fan_out, permissions, retain, router};

/// The result of publishing a message.
pub(crate) enum Published {
    /// The delivery is complete. The value is `true` if the message had a subscriber.
    Delivered(bool),
    /// The delivery continues in later turns (`fan_out.rs`).
    InSlices,
}

/// Publishes a will, if the client may publish to its topic now. The permission is checked at this time and not at
/// CONNECT, because the ACL may have changed since.
pub(crate) fn publish_will(broker: &mut Broker, now: Instant, key: ClientKey, will: &Will) {
    let name = broker
        .sessions
        .clients
        .get(key)
        .map(|client| Arc::clone(&client.identifier));
    let name = name.unwrap_or_default();
    if !permissions::is_allowed(
        &broker.auth,
        &broker.sessions,
        key,
        &will.message.topic_name,
        AclAction::Write,
    ) {
        if broker
            .stats
            .log_limiter
            .admits(now, LogEvent::WillDenied, &name)
        {
            let (name, topic_name) = (Excerpt(&name), Excerpt(&will.message.topic_name));
            log::info!(target: EVENTS, "Denied will of {name} ('{topic_name}')");
        }
        return;
    }
    log::debug!(target: EVENTS, "Sending will of {}", Excerpt(&name));
    // The packet identifier is a placeholder, because a will has none. The broker only uses the QoS.
    let delivery = Delivery::first(will.qos, PacketIdentifier::FIRST);
    let message = &will.message;
    publish_as(broker, now, Some(key), None, &message.publish(delivery));
}

/// Retains the message if RETAIN is set, and delivers the message to its subscribers. `origin` is the connection that
/// waits for the acknowledgement. A will has no origin, so its author receives it even through a subscription with No
/// Local.
pub(crate) fn publish_as(
    broker: &mut Broker,
    now: Instant,
    author: Option<ClientKey>,
    origin: Option<Origin>,
    publish: &PublishRef<'_>,
) -> Published {
    // `reject_reason` has not checked wills. A mount point may also turn an ordinary topic name into a reserved one.
    if author.is_some_and(|author| broker.sessions.is_reserved_for(author, publish.topic_name)) {
        return Published::Delivered(false);
    }
    let from = origin.map(|origin| origin.client);
    let mut routed = Routed::new(*publish, now);
    let source = publish.retain.then(|| {
        let author = author.and_then(|author| broker.sessions.clients.get(author));
        author.map(|author| Arc::new(author.principal.clone()))
    });
    let source = source.flatten();
    let targets = router::collect_targets(broker, publish, from);
    let is_will = origin.is_none();
    // A will must not wait for the slices of another publication (see `Publication::is_will`). `expiry::defer` has
    // deferred the wills that can wait. The old will of a client that reconnects cannot wait, because the will of the
    // new CONNECT replaces it, so this call delivers it to all subscribers.
    let is_whole = is_will
        && fan_out::is_will_deferred(&broker.durability, &mut broker.flow, &broker.resources);
    if is_whole || !router::is_large(&broker.resources, &targets, publish.payload.len()) {
        if publish.retain {
            retain::retain(broker, now, &mut routed, source);
        }
        return Published::Delivered(router::deliver_all(broker, now, &mut routed, targets));
    }
    let Some(message) = routed.owned() else {
        return Published::Delivered(false);
    };
    let publication = Publication {
        message,
        delivery: publish.delivery,
        expires: routed.expires,
        from,
        source,
        origin,
        is_will,
    };
    fan_out::fan_out(broker, now, publication, targets);
    Published::InSlices
}
