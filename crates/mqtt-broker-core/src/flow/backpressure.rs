//! Backpressure: a publisher that fills more than half of the queue of a live subscriber waits for up to 5 ms.
//!
//! The broker drops a message if the queue of the subscriber is full. Acknowledgements of the subscriber make room in
//! its queue, but they may still be unread while the broker reads more messages from the publisher. Therefore the
//! broker stops reading from the publisher, and processes the acknowledgements first. A subscriber that sends nothing
//! does not slow down any publisher.

use std::time::{Duration, Instant};

use crate::connection::Connections;
use crate::flow::state::Flow;
use crate::keys::{ClientKey, ConnectionId};
use crate::resources::Resources;
use crate::sessions::state::Sessions;

/// Maximum time for which the broker does not read from a publisher because of the queue of one subscriber.
const PAUSE: Duration = Duration::from_millis(5);

/// A subscriber counts as live if it has sent bytes within this time. The time must exceed 40 ms, because Nagle's
/// algorithm and delayed acknowledgements of TCP can delay the packets of a subscriber by that time.
const ACTIVE: Duration = Duration::from_millis(100);

/// Records the client in `Flow::congested` if it is live and its queue is more than half full. The caller has just
/// added a message to this queue.
pub(crate) fn note_backpressure(
    connections: &Connections,
    sessions: &Sessions,
    flow: &mut Flow,
    resources: &Resources,
    now: Instant,
    key: ClientKey,
) {
    if is_congested(connections, sessions, resources, now, key) {
        let length = sessions
            .clients
            .get(key)
            .map_or(0, |client| client.queue.len());
        // Only the longest queue is recorded. The publisher waits for one client, and the longest queue is the closest
        // to dropping messages.
        if flow.congested.is_none_or(|(longest, _)| longest < length) {
            flow.congested = Some((length, key));
        }
    }
}

/// Returns `true` if the client is live and its queue is more than half full.
fn is_congested(
    connections: &Connections,
    sessions: &Sessions,
    resources: &Resources,
    now: Instant,
    key: ClientKey,
) -> bool {
    let Some(client) = sessions.clients.get(key) else {
        return false; // the session has ended while the publisher waited
    };
    if !client.queue.is_half_full(&resources.limits) {
        return false; // the usual case: avoids the lookup of the connection
    }
    let connection = client.connection.and_then(|id| connections.get(id));
    connection.is_some_and(|connection| now < connection.protocol.last_heard() + ACTIVE)
}

/// Makes the connection wait if its last input has filled more than half of the queue of another live client. Returns
/// `true` if the connection waits.
pub(crate) fn throttle_publisher(
    connections: &mut Connections,
    flow: &mut Flow,
    now: Instant,
    id: ConnectionId,
) -> bool {
    let Some(client) = take_congested(connections, flow, id) else {
        return false; // the input has filled no queue
    };
    // The pause ends earlier if the subscriber has room again, so the publisher loses little throughput.
    let until = now + PAUSE;
    if let Some(connection) = connections.get_mut(id) {
        connection.throttled_until = Some(until);
        flow.throttle.throttled_publishers.push((until, id, client));
    }
    true
}

/// Resumes the publishers whose subscriber has room again, and those that have waited for 5 ms.
pub(crate) fn end_backpressure(
    connections: &mut Connections,
    sessions: &Sessions,
    flow: &mut Flow,
    resources: &Resources,
    now: Instant,
) {
    // Most turns have no publisher that waits.
    if flow.throttle.throttled_publishers.is_empty() {
        return;
    }
    for (until, id, client) in std::mem::take(&mut flow.throttle.throttled_publishers) {
        if now < until && is_congested(connections, sessions, resources, now, client) {
            flow.throttle.throttled_publishers.push((until, id, client));
            continue;
        }
        if let Some(connection) = connections.get_mut(id) {
            connection.throttled_until = None;
        }
        flow.throttle.resume(connections, id);
    }
}

/// Returns the live client whose queue the last input of this connection has filled by more than half, unless the
/// client is the publisher itself. The broker must continue to read from a client that fills its own queue, because its
/// acknowledgements come on the same connection.
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
    use crate::{Broker, InputProgress, Limits};
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
            // The window has room for one message; five wait in the queue.
            assert_eq!(world.publish(publisher), InputProgress::Drained);
        }
        assert_eq!(world.publish(publisher), InputProgress::Blocked);
        assert_eq!(world.broker.poll_resumable(), None);
        assert_eq!(world.publish(publisher), InputProgress::Blocked);
        // The acknowledgement makes room in the window, and the next message leaves the queue.
        let ack = Ack::new(PacketIdentifier::FIRST, ReasonCode::Success);
        world.send(subscriber, &PacketRef::Puback(ack));
        world.broker.run_background(world.now);
        assert_eq!(world.broker.poll_resumable(), Some(publisher));
    }

    #[test]
    fn publisher_that_waits_for_a_subscriber_resumes_after_a_time_limit() {
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
    fn client_that_does_not_read_delays_no_publisher() {
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
    fn client_that_fills_its_own_queue_can_still_empty_it() {
        let mut world = World::new();
        let both = world.connect("both");
        world.subscribe(both);
        for _ in 0..10 {
            assert_eq!(world.publish(both), InputProgress::Drained);
        }
    }
}
