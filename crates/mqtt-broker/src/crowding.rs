//! Publishers that are quicker than a subscriber who does keep up: a message for a full queue is dropped, and
//! that a queue becomes full may be a matter of whose socket is looked at first. A publisher that fills the
//! queue of a client that is taking messages is not read from for a moment, so that the client's
//! acknowledgements get their turn. A client that takes nothing slows nobody down.

use std::time::{Duration, Instant};

use crate::broker::{Broker, ConnectionId};
use crate::client::ClientKey;

/// How long a publisher waits at most until it is read from once more.
pub(crate) const PAUSE: Duration = Duration::from_millis(5);

/// Who was heard so lately takes messages. An acknowledgement may be held back for 40 ms on its way, by
/// Nagle's algorithm and a delayed acknowledgement of TCP.
const ACTIVE: Duration = Duration::from_millis(100);

impl Broker {
    /// A message was put into the queue of this client.
    pub(crate) fn note_crowding(&mut self, now: Instant, key: ClientKey) {
        if self.is_crowded(now, key) {
            let length = self.clients.get(key).map_or(0, |client| client.queue.len());
            // The one that is worst off: when it is better, the others are too.
            if self.crowded.is_none_or(|(longest, _)| longest < length) {
                self.crowded = Some((length, key));
            }
        }
    }

    /// Whether a client that takes messages has too many waiting.
    pub(crate) fn is_crowded(&self, now: Instant, key: ClientKey) -> bool {
        let Some(client) = self.clients.get(key) else {
            return false;
        };
        let link = client.connection.and_then(|id| self.connections.get(id));
        client.queue.is_crowded(&self.limits)
            && link.is_some_and(|link| now < link.connection.last_heard() + ACTIVE)
    }

    /// The client whose queue the last bytes of this connection have filled, if it is another's.
    pub(crate) fn take_crowded(&mut self, id: ConnectionId) -> Option<ClientKey> {
        let (_, crowded) = self.crowded.take()?;
        let own = self.connections.get(id).and_then(|link| link.client);
        (own != Some(crowded)).then_some(crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Limits;
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

        fn send(&mut self, id: ConnectionId, packet: &Packet<'_>) {
            let mut bytes = Vec::new();
            let version = ProtocolVersion::V3_1_1;
            packet.encode(version, u32::MAX, &mut bytes).unwrap();
            self.broker.handle_input(self.now, id, &mut &bytes[..]);
        }

        fn connect(&mut self, name: &str) -> ConnectionId {
            let id = self.broker.open(self.now, String::new(), 0);
            let connect = Connect::new(ProtocolVersion::V3_1_1, name);
            self.send(id, &Packet::Connect(Box::new(connect)));
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
            self.send(id, &Packet::Subscribe(subscribe));
        }

        fn publish(&mut self, id: ConnectionId) {
            let message = Message::new(TopicName::new("t").unwrap(), "x");
            let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
            self.send(id, &Packet::Publish(message.publish(delivery)));
        }
    }

    #[test]
    fn who_fills_the_queue_of_a_client_that_takes_messages_is_told_apart() {
        let mut world = World::new();
        let subscriber = world.connect("subscriber");
        world.subscribe(subscriber);
        let publisher = world.connect("publisher");
        for _ in 0..6 {
            world.publish(publisher);
            assert_eq!(world.broker.take_crowded(publisher), None); // one is sent, five wait
        }
        world.publish(publisher);
        let crowded = world.broker.take_crowded(publisher);
        let crowded = crowded.expect("more than half of what may wait does");
        assert!(world.broker.is_crowded(world.now, crowded));
        // An acknowledgement makes room.
        let ack = Ack::new(PacketIdentifier::FIRST, ReasonCode::Success);
        world.send(subscriber, &Packet::Puback(ack));
        assert!(!world.broker.is_crowded(world.now, crowded));
    }

    #[test]
    fn a_client_that_takes_nothing_slows_nobody_down() {
        let mut world = World::new();
        let subscriber = world.connect("subscriber");
        world.subscribe(subscriber);
        world.now += ACTIVE;
        let publisher = world.connect("publisher");
        for _ in 0..20 {
            world.publish(publisher);
            assert_eq!(world.broker.take_crowded(publisher), None);
        }
    }

    #[test]
    fn who_fills_its_own_queue_is_not_kept_from_emptying_it() {
        let mut world = World::new();
        let both = world.connect("both");
        world.subscribe(both);
        for _ in 0..10 {
            world.publish(both);
            assert_eq!(world.broker.take_crowded(both), None);
        }
    }
}
