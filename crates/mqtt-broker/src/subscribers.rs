//! Who subscribed to one topic filter: plain subscribers, of whom each gets a message, and shared
//! subscriptions (MQTT 5.0, 4.8.2), of whose members one gets it.

use std::cell::Cell;

use mqtt_codec::TopicFilter;

use crate::client::{ClientKey, SubscriptionState};

/// A subscription at its topic filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) client: ClientKey,
    pub(crate) state: SubscriptionState,
}

/// All subscriptions at one topic filter.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    pub(crate) plain: Vec<Subscriber>,
    pub(crate) shares: Vec<Share>,
}

/// The members of a share, in the order of their subscriptions.
#[derive(Debug)]
pub(crate) struct Share {
    name: Box<str>,
    members: Vec<Subscriber>,
    /// Whose turn it is.
    next: Cell<usize>,
}

/// How well a member can take a message now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fitness {
    /// Not at all.
    Unable,
    /// It is away, and the message would wait for it.
    Away,
    /// It is there.
    Present,
}

impl Subscribers {
    /// Adds a subscription or replaces the one of the same client and share [MQTT-3.8.4-3].
    pub(crate) fn add(&mut self, topic_filter: &TopicFilter, subscriber: Subscriber) {
        let list = match topic_filter.share_name() {
            None => &mut self.plain,
            Some(name) => {
                let position = self.shares.iter().position(|share| &*share.name == name);
                let index = position.unwrap_or_else(|| {
                    self.shares.push(Share::new(name));
                    self.shares.len() - 1
                });
                match self.shares.get_mut(index) {
                    Some(share) => &mut share.members,
                    None => return, // it was found or added just now
                }
            }
        };
        match list
            .iter_mut()
            .find(|other| other.client == subscriber.client)
        {
            Some(other) => other.state = subscriber.state,
            // Most topic filters have one subscriber, and there may be a million of them.
            None => {
                if list.is_empty() {
                    list.reserve_exact(1);
                }
                list.push(subscriber);
            }
        }
    }

    /// Removes a subscription; says whether none is left.
    pub(crate) fn remove(&mut self, topic_filter: &TopicFilter, client: ClientKey) -> bool {
        match topic_filter.share_name() {
            None => self.plain.retain(|subscriber| subscriber.client != client),
            Some(name) => {
                let of_name = |share: &&mut Share| &*share.name == name;
                if let Some(share) = self.shares.iter_mut().find(of_name) {
                    share.remove(client);
                }
                self.shares.retain(|share| !share.members.is_empty());
            }
        }
        self.plain.is_empty() && self.shares.is_empty()
    }
}

impl Share {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            members: Vec::new(),
            next: Cell::new(0),
        }
    }

    /// The member that gets the next message: in turn, those that are there first.
    pub(crate) fn choose(&self, fitness: impl Fn(&Subscriber) -> Fitness) -> Option<Subscriber> {
        let count = self.members.len();
        let start = self.next.get();
        let mut best = (Fitness::Unable, 0);
        for offset in 0..count {
            let index = (start + offset) % count;
            let fitness = self.members.get(index).map_or(Fitness::Unable, &fitness);
            if fitness > best.0 {
                best = (fitness, index);
            }
            if fitness == Fitness::Present {
                break;
            }
        }
        let (fitness, index) = best;
        if fitness == Fitness::Unable {
            return None;
        }
        self.next.set((index + 1) % count);
        self.members.get(index).copied()
    }

    fn remove(&mut self, client: ClientKey) {
        let Some(index) = self
            .members
            .iter()
            .position(|member| member.client == client)
        else {
            return;
        };
        self.members.remove(index);
        let next = self.next.get_mut();
        if index < *next {
            *next -= 1; // it is still the turn of the same member
        }
        if *next >= self.members.len() {
            *next = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{QoS, SubscriptionOptions};
    use slotmap::SlotMap;

    fn world(
        count: usize,
    ) -> (
        SlotMap<ClientKey, ()>,
        Vec<ClientKey>,
        Subscribers,
        TopicFilter,
    ) {
        let mut keys = SlotMap::with_key();
        let clients: Vec<_> = (0..count).map(|_| keys.insert(())).collect();
        let topic_filter = TopicFilter::new("$share/g/a").unwrap();
        let mut subscribers = Subscribers::default();
        let state = SubscriptionState {
            options: SubscriptionOptions::new(QoS::AtMostOnce),
            identifier: None,
        };
        for &client in &clients {
            subscribers.add(&topic_filter, Subscriber { client, state });
        }
        (keys, clients, subscribers, topic_filter)
    }

    fn choose(
        subscribers: &Subscribers,
        clients: &[ClientKey],
        fitness: impl Fn(usize) -> Fitness,
    ) -> Option<usize> {
        let index = |subscriber: &Subscriber| {
            clients
                .iter()
                .position(|client| *client == subscriber.client)
                .unwrap()
        };
        let chosen = subscribers.shares[0].choose(|subscriber| fitness(index(subscriber)));
        chosen.map(|subscriber| index(&subscriber))
    }

    #[test]
    fn members_take_turns_and_those_that_are_there_go_first() {
        let (_keys, clients, subscribers, _) = world(3);
        let all = |_| Fitness::Present;
        let turns: Vec<_> = (0..4)
            .map(|_| choose(&subscribers, &clients, all))
            .collect();
        assert_eq!(turns, [Some(0), Some(1), Some(2), Some(0)]);
        let only_two = |index| match index {
            2 => Fitness::Present,
            _ => Fitness::Away,
        };
        assert_eq!(choose(&subscribers, &clients, only_two), Some(2));
        assert_eq!(choose(&subscribers, &clients, |_| Fitness::Away), Some(0));
        assert_eq!(choose(&subscribers, &clients, |_| Fitness::Unable), None);
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
    }

    #[test]
    fn who_leaves_does_not_change_whose_turn_it_is() {
        let (_keys, clients, mut subscribers, topic_filter) = world(3);
        let all = |_| Fitness::Present;
        assert_eq!(choose(&subscribers, &clients, all), Some(0));
        assert!(!subscribers.remove(&topic_filter, clients[0]));
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
        assert!(!subscribers.remove(&topic_filter, clients[2]));
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
        assert!(subscribers.remove(&topic_filter, clients[1]));
    }
}
