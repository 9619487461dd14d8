//! Backpressure: a publisher that fills the queue of a live subscriber waits for a moment.
//!
//! The broker drops messages for a full queue, and which socket it reads first may decide whether a queue is full. So it
//! stops reading from the publisher for up to 5 ms, so that the subscriber's acknowledgements are processed first. A
//! subscriber that acknowledges nothing slows nobody down.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::connection::{ConnectionId, Connections};
use crate::flow::{Flow, throttle};
use crate::resources::Resources;
use crate::sessions::Sessions;
use crate::sessions::client::ClientKey;

/// Maximum time for which the broker does not read from a publisher.
const PAUSE: Duration = Duration::from_millis(5);

/// A subscriber that was heard within this time counts as live. Nagle's algorithm and a delayed acknowledgement of TCP
/// may hold an acknowledgement back for 40 ms.
const ACTIVE: Duration = Duration::from_millis(100);

/// Notes the client if the message that was just queued for it has made its queue long.
pub(crate) fn note_backpressure(broker: &mut Broker, now: Instant, key: ClientKey) {
    if is_congested(
        &broker.connections,
        &broker.sessions,
        &broker.resources,
        now,
        key,
    ) {
        let length = broker
            .sessions
            .clients
            .get(key)
            .map_or(0, |client| client.queue.len());
        // The longest queue is enough: when it has room again, the others have too.
        if broker
            .flow
            .congested
            .is_none_or(|(longest, _)| longest < length)
        {
            broker.flow.congested = Some((length, key));
        }
    }
}

/// Returns `true` if a live client has too many messages waiting.
fn is_congested(
    connections: &Connections,
    sessions: &Sessions,
    resources: &Resources,
    now: Instant,
    key: ClientKey,
) -> bool {
    let Some(client) = sessions.clients.get(key) else {
        return false; // its session has ended while the publisher waited
    };
    if !client.queue.is_half_full(&resources.limits) {
        return false; // the usual case, without a search for the connection
    }
    let connection = client.connection.and_then(|id| connections.get(id));
    connection.is_some_and(|connection| now < connection.protocol.last_heard() + ACTIVE)
}

/// Returns `true` if the last bytes of this connection have filled the queue of a subscriber that takes messages. The
/// connection waits then.
pub(crate) fn throttle_publisher(
    connections: &mut Connections,
    flow: &mut Flow,
    now: Instant,
    id: ConnectionId,
) -> bool {
    let Some(client) = take_congested(connections, flow, id) else {
        return false;
    };
    let until = now + PAUSE;
    if let Some(connection) = connections.get_mut(id) {
        connection.throttled_until = Some(until);
        flow.throttle.throttled_publishers.push((until, id, client));
    }
    true
}

/// Resumes the publishers whose subscriber has room again, or whose time is over.
pub(crate) fn end_backpressure(broker: &mut Broker, now: Instant) {
    if broker.flow.throttle.throttled_publishers.is_empty() {
        return;
    }
    for (until, id, client) in std::mem::take(&mut broker.flow.throttle.throttled_publishers) {
        if now < until
            && is_congested(
                &broker.connections,
                &broker.sessions,
                &broker.resources,
                now,
                client,
            )
        {
            broker
                .flow
                .throttle
                .throttled_publishers
                .push((until, id, client));
            continue;
        }
        if let Some(connection) = broker.connections.get_mut(id) {
            connection.throttled_until = None;
        }
        throttle::resume(&mut broker.connections, &mut broker.flow, id);
    }
}

/// Takes the client whose queue the last bytes of this connection have filled, if it is another client. A client that
/// fills its own queue must be read from, or it could never acknowledge.
fn take_congested(
    connections: &Connections,
    flow: &mut Flow,
    id: ConnectionId,
) -> Option<ClientKey> {
    let (_, congested) = flow.congested.take()?;
    let own = connections.get(id).and_then(|connection| connection.client);
    (own != Some(congested)).then_some(congested)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputProgress, Limits};
    use mqtt_codec::*;

    struct World {
        broker: Broker,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            let limits = Limits {
                maximum_queued: 10,
                maximum_in_flight: 1,
                ..Limits::default()
            };
            let broker = Broker::new(limits, Box::new(|| 1));
            let now = Instant::now();
            Self { broker, now }
        }

        fn send(&mut self, id: ConnectionId, packet: &PacketRef<'_>) -> InputProgress {
            let mut bytes = Vec::new();
            let version = ProtocolVersion::V3_1_1;
            packet.encode(version, u32::MAX, &mut bytes).unwrap();
            self.broker.handle_input(self.now, id, &mut &bytes[..])
        }

        fn connect(&mut self, name: &str) -> ConnectionId {
            let id = self.broker.open(self.now, String::new(), 0);
            let connect = Connect::new(ProtocolVersion::V3_1_1, name);
            self.send(id, &PacketRef::Connect(Box::new(connect)));
            id
        }

        fn subscribe(&mut self, id: ConnectionId) {
            let subscription = Subscription {
                topic_filter: TopicFilter::new("t").unwrap(),
                options: SubscriptionOptions::new(QoS::AtLeastOnce),
            };
            let subscribe = Subscribe {
                packet_identifier: PacketIdentifier::FIRST,
                subscriptions: vec![subscription],
                properties: SubscribeProperties::default(),
            };
            self.send(id, &PacketRef::Subscribe(subscribe));
        }

        fn publish(&mut self, id: ConnectionId) -> InputProgress {
            let message = Message::new(TopicName::new("t").unwrap(), "x");
            let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
            self.send(id, &PacketRef::Publish(message.publish(delivery)))
        }
    }

    #[test]
    fn publisher_that_fills_the_queue_of_an_active_subscriber_waits_for_its_acknowledgement() {
        let mut world = World::new();
        let subscriber = world.connect("subscriber");
        world.subscribe(subscriber);
        let publisher = world.connect("publisher");
        for _ in 0..6 {
            // One is sent, five wait.
            assert_eq!(world.publish(publisher), InputProgress::Drained);
        }
        assert_eq!(world.publish(publisher), InputProgress::Blocked);
        assert_eq!(world.broker.poll_resumable(), None);
        assert_eq!(world.publish(publisher), InputProgress::Blocked);
        // An acknowledgement makes room.
        let ack = Ack::new(PacketIdentifier::FIRST, ReasonCode::Success);
        world.send(subscriber, &PacketRef::Puback(ack));
        world.broker.run_background(world.now);
        assert_eq!(world.broker.poll_resumable(), Some(publisher));
    }

    #[test]
    fn publisher_that_waits_for_a_subscriber_goes_on_after_a_moment() {
        let mut world = World::new();
        let subscriber = world.connect("subscriber");
        world.subscribe(subscriber);
        let publisher = world.connect("publisher");
        while world.publish(publisher) == InputProgress::Drained {}
        world.now += PAUSE;
        assert_eq!(world.broker.poll_timeout(), Some(world.now));
        world.broker.handle_timeout(world.now);
        assert_eq!(world.broker.poll_resumable(), Some(publisher));
    }

    #[test]
    fn a_client_that_takes_nothing_slows_nobody_down() {
        let mut world = World::new();
        let subscriber = world.connect("subscriber");
        world.subscribe(subscriber);
        world.now += ACTIVE;
        let publisher = world.connect("publisher");
        for _ in 0..20 {
            assert_eq!(world.publish(publisher), InputProgress::Drained);
        }
    }

    #[test]
    fn who_fills_its_own_queue_is_not_kept_from_emptying_it() {
        let mut world = World::new();
        let both = world.connect("both");
        world.subscribe(both);
        for _ in 0..10 {
            assert_eq!(world.publish(both), InputProgress::Drained);
        }
    }
}
