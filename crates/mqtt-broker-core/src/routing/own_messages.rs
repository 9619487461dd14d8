//! Publishes the messages of the broker itself: the values below `$SYS`, and lines of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{Delivery, Message, MessageProperties, Property, QoS, TopicName};

use crate::broker::Broker;
use crate::flow::fan_outs::Publication;
use crate::routing::routed::Routed;
use crate::routing::{fan_out, router};
use crate::topics::retained::Retained;

/// Message Expiry Interval in seconds of a line of the log that is published as a message. mosquitto uses the same.
const LOG_LINE_EXPIRY: u32 = 20;

/// Retains and routes a message of the broker itself. The retained message is not stored on disk, because the broker
/// publishes its own topics again after a restart.
pub(crate) fn publish_own(broker: &mut Broker, now: Instant, topic_name: &str, payload: &str) {
    let Ok(topic_name) = TopicName::new(topic_name) else {
        debug_assert!(false, "a topic of the broker itself is invalid");
        return;
    };
    // The message is retained, so that a client that subscribes later gets the current value immediately.
    let mut message = Message::new(topic_name, payload.to_owned());
    message.retain = true;
    let message = Arc::new(message);
    broker.topics.retained.store(Retained {
        message: Arc::clone(&message),
        qos: QoS::ExactlyOnce,
        expires: None,
        source: None,
        version: 0,
    });
    route_own(broker, now, &message, None);
}

/// Publishes a line of the log to the subscribers of `topic_name`. In the queue of a client that is not connected, the
/// line expires after [`LOG_LINE_EXPIRY`] seconds.
pub(crate) fn publish_log_line(broker: &mut Broker, now: Instant, topic_name: &str, line: String) {
    let Ok(topic_name) = TopicName::new(topic_name) else {
        return; // no client can subscribe to an invalid topic name
    };
    let mut message = Message::new(topic_name, line);
    let expiry = Property::MessageExpiryInterval(LOG_LINE_EXPIRY);
    message.properties = MessageProperties::new([expiry]).ok().map(Box::new);
    let expires = now + Duration::from_secs(LOG_LINE_EXPIRY.into());
    route_own(broker, now, &Arc::new(message), Some(expires));
}

/// Delivers a message of the broker itself, in slices if it has many subscribers.
fn route_own(broker: &mut Broker, now: Instant, message: &Arc<Message>, expires: Option<Instant>) {
    // The message has QoS 2, so that each subscriber receives it with the QoS of the subscription. The packet
    // identifier is a placeholder.
    let first = mqtt_codec::PacketIdentifier::FIRST;
    let delivery = Delivery::first(QoS::ExactlyOnce, first);
    let mut routed = Routed::from_message(message, delivery, expires, now);
    let targets = router::collect_targets(broker, &routed.publish, None);
    if !router::is_large(&broker.resources, &targets, message.payload.len()) {
        router::deliver_all(broker, now, &mut routed, targets);
        return;
    }
    let publication = Publication {
        message: Arc::clone(message),
        delivery,
        expires,
        from: None,
        source: None,
        origin: None,
        is_will: false,
    };
    fan_out::fan_out(broker, now, publication, targets);
}
