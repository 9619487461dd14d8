//! The messages that a member of a shared subscription leaves behind when its session ends (MQTT 5.0, 4.8.2):
//! another member of the share gets them.
//!
//! These are messages of QoS 1 that the member has not acknowledged, and messages of QoS 1 and 2 that were not
//! sent to it yet. A message of QoS 2 whose delivery has begun goes to nobody else [MQTT-4.8.2-5], as the member
//! may have it. UNSUBSCRIBE redistributes nothing: the broker has accepted the messages for this member, goes on
//! to deliver them, and redistributes what is left when the session ends.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Delivery, Message, PacketIdentifier, QoS, TopicName};
use mqtt_session::{OutboundMessage, Session, seconds_until};

use crate::broker::Broker;
use crate::routing::router::{DeliveryOptions, Routed};
use crate::routing::{delivery, router};
use crate::sessions::client::Client;
use crate::topics::subscriptions::Subscribers;

/// Gives the messages of a client whose session has ended, and whose subscriptions are gone, to other members
/// of their shares, in the order in which the client would have got them.
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

/// Gives one message to another member. Drops the message if no member can take it.
fn redistribute_message(
    broker: &mut Broker,
    now: Instant,
    mount_point: Option<&str>,
    outgoing: OutboundMessage,
) {
    let Some(share) = outgoing.share().filter(|_| !outgoing.has_expired(now)) else {
        return;
    };
    let Some(message) = mounted(&outgoing, mount_point) else {
        return;
    };
    // The packet identifier is a placeholder: only the QoS counts here.
    let delivery = Delivery::first(outgoing.qos, PacketIdentifier::FIRST);
    let mut routed = Routed::again(&message, delivery, outgoing.expires(), now);
    let publish = &mut routed.publish;
    publish.retain |= outgoing.retain;
    if let Some(expires) = outgoing.expires() {
        // A copy of QoS 0 is sent as it is [MQTT-3.3.2-6].
        publish.properties.message_expiry_interval = Some(seconds_until(expires, now));
    }
    let subscribers = broker.topics.subscriptions.get(share.without_share());
    let members = subscribers.and_then(|subscribers: &Subscribers| subscribers.share(share));
    let Some(member) = members.and_then(|members| router::choose(broker, members, &routed.publish))
    else {
        return;
    };
    let copy = DeliveryOptions::new(
        &[member],
        &routed.publish,
        broker.resources.limits.upgrade_qos,
    );
    let copy = copy.of_share(share.clone());
    delivery::deliver(broker, now, member.client, &mut routed, copy);
}

/// Returns the messages of shared subscriptions that another member may get, in order.
fn left_behind(mut client: Client) -> Vec<OutboundMessage> {
    let session = client.session.take();
    let sent = session.iter().flat_map(|session| Session::sent(session));
    let sent = sent.filter_map(|(_, outgoing)| outgoing);
    let unacknowledged = sent.filter(|outgoing| outgoing.qos == QoS::AtLeastOnce);
    let mut messages: Vec<_> = unacknowledged
        .filter(|outgoing| outgoing.share().is_some())
        .cloned()
        .collect();
    let waiting = std::iter::from_fn(|| client.queue.pop());
    let waiting = waiting.map(|queued| queued.outgoing);
    messages.extend(
        waiting.filter(|outgoing| outgoing.share().is_some() && outgoing.qos > QoS::AtMostOnce),
    );
    messages
}

/// Returns the message as it was published: with the mount point of the client that it was meant for.
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
