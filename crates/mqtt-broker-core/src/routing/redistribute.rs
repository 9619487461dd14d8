//! Redistributes the messages of a shared subscription (MQTT 5.0, 4.8.2): if the session of a member ends, another
//! member of the share gets the messages that the first member did not receive.
//!
//! These are messages of QoS 1 that the member has not acknowledged, and messages of QoS 1 and 2 that were not sent to
//! the member yet. A message of QoS 2 whose delivery has begun must not be sent to another member [MQTT-4.8.2-5],
//! because the first member may have received it. UNSUBSCRIBE redistributes nothing: the broker continues to deliver
//! the queued messages to this member, because moving them would change their order.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, Message, PacketIdentifier, QoS, TopicName};
use mqtt_session::{OutboundMessage, Session, seconds_until};

use crate::broker::Broker;
use crate::routing::routed::{DeliveryOptions, Routed};
use crate::routing::{delivery, router};
use crate::sessions::client::Client;
use crate::topics::subscriptions::Subscribers;

/// Delivers the messages that are left of an ended session to other members of their shares, in the order in which
/// `client` would have received them. The caller has already removed the client from the table, so that it cannot be
/// chosen again.
pub(crate) fn redistribute(broker: &mut Broker, now: Instant, client: Client) {
    let mount_point = broker
        .auth
        .policy(client.principal.listener)
        .mount_point
        .clone();
    for outgoing in left_behind(client) {
        redistribute_message(broker, now, mount_point.as_deref(), outgoing);
    }
}

/// Delivers one message to another member of its share. Drops the message if it has expired or no member can receive
/// it.
fn redistribute_message(
    broker: &mut Broker,
    now: Instant,
    mount_point: Option<&str>,
    outgoing: OutboundMessage,
) {
    // An expired message must not be sent to anybody [MQTT-3.3.2-5].
    let Some(share) = outgoing.share().filter(|_| !outgoing.has_expired(now)) else {
        return; // it has expired, or belongs to no share
    };
    let Some(message) = mounted(&outgoing, mount_point) else {
        return; // too long, because a reload has changed the mount point
    };
    // The packet identifier is a placeholder. `deliver` only uses the QoS.
    let delivery = Delivery::first(outgoing.qos, PacketIdentifier::FIRST);
    let mut routed = Routed::from_message(&message, delivery, outgoing.expires(), now);
    let publish = &mut routed.publish;
    publish.retain |= outgoing.retain;
    if let Some(expires) = outgoing.expires() {
        // A copy with QoS 0 is encoded from `publish`, so the interval must be the time that is left [MQTT-3.3.2-6].
        // For QoS 1 and 2 the session computes the interval when it sends the message.
        publish.properties.message_expiry_interval = Some(seconds_until(expires, now));
    }
    let subscribers = broker.topics.subscriptions.get(share.without_share());
    let members = subscribers.and_then(|subscribers: &Subscribers| subscribers.share(share));
    let Some(member) = members.and_then(|members| router::choose(broker, members, &routed.publish))
    else {
        return; // no other member can receive the message
    };
    let copy = DeliveryOptions::new(
        &[member],
        &routed.publish,
        broker.resources.limits.upgrade_qos,
    );
    let copy = copy.of_share(share.clone());
    delivery::deliver(broker, now, member.client, &mut routed, copy);
}

/// Returns the messages that another member may receive: first those in flight with QoS 1, then those in the queue.
fn left_behind(mut client: Client) -> Vec<OutboundMessage> {
    let session = client.session.take();
    let sent = session.iter().flat_map(|session| Session::sent(session));
    let sent = sent.filter_map(|(_, outgoing)| outgoing);
    let unacknowledged = sent.filter(|outgoing| outgoing.qos == QoS::AtLeastOnce);
    let mut messages: Vec<_> = unacknowledged
        .filter(|outgoing| outgoing.share().is_some())
        .cloned()
        .collect();
    // The messages in the queue were never sent, so messages of QoS 2 may be moved too.
    let waiting = std::iter::from_fn(|| client.queue.pop());
    let waiting = waiting.map(|queued| queued.outgoing);
    messages.extend(
        waiting.filter(|outgoing| outgoing.share().is_some() && outgoing.qos > QoS::AtMostOnce),
    );
    messages
}

/// Returns the message with the mount point of the first member in front of its topic name, as it was published. The
/// next member may have another mount point, or none.
fn mounted(outgoing: &OutboundMessage, mount_point: Option<&str>) -> Option<Arc<Message>> {
    let message = &outgoing.message;
    let Some(mount_point) = mount_point else {
        return Some(Arc::clone(message));
    };
    let topic_name = TopicName::new(&format!("{mount_point}{}", message.topic_name)).ok()?;
    Some(Arc::new(Message {
        topic_name,
        ..Message::clone(message)
    }))
}
