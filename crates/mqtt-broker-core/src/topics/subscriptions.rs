//! [`Subscribers`]: the subscriptions at one topic filter. Each plain subscription receives every message. Of the
//! members of a shared subscription (MQTT 5.0, 4.8.2), one member receives each message.
//!
//! Subscriptions are in ordered maps: a list would make each SUBSCRIBE slow for a filter with a hundred thousand
//! clients or shares, and a hash map would make the order of delivery random.

use std::cell::Cell;

use mqtt_codec::{SubscriptionIdentifier, SubscriptionOptions, TopicFilter};

use crate::keys::ClientKey;
use crate::topics::small_map::SmallMap;

/// The options and the identifier of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The options, with the QoS that was granted.
    pub options: SubscriptionOptions,
    /// The Subscription Identifier, which is sent with each message of this subscription.
    pub identifier: Option<SubscriptionIdentifier>,
}

/// A client and its subscription at one topic filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subscriber {
    pub(crate) client: ClientKey,
    pub(crate) state: SubscriptionState,
}

/// The subscriptions of all clients to one topic filter.
#[derive(Debug, Default)]
pub(crate) struct Subscribers {
    plain: SmallMap<ClientKey, SubscriptionState>,
    /// The shared subscriptions, by the whole filter with `$share` and the share name. The map is boxed, because most
    /// filters have no shared subscription.
    shares: Option<Box<SmallMap<TopicFilter, Share>>>,
}

/// The member of a shared subscription that receives a message.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) member: Subscriber,
    pub(crate) share: TopicFilter,
}

/// The members of a shared subscription. A client may have a hundred thousand shares of which it is the only member, so
/// a share with one member must be small.
#[derive(Debug)]
pub(crate) enum Share {
    One(ClientKey, SubscriptionState),
    Several(Box<Members>),
}

/// The members of a shared subscription that has, or had, more than one member.
#[derive(Debug, Default)]
pub(crate) struct Members {
    members: SmallMap<ClientKey, SubscriptionState>,
    /// The member that received the last message. The next member in the order is the first candidate for the next
    /// message, even if the member that received the last message has unsubscribed. The field is a `Cell`, because
    /// routing only has a shared borrow of the tree.
    last: Cell<Option<ClientKey>>,
}

/// The ability of a member to receive a message now, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MemberState {
    /// The member cannot receive the message.
    Unable,
    /// The member is not connected, but the message can wait in its queue.
    Away,
    /// The member is connected.
    Present,
}

impl Subscribers {
    /// Adds a subscription, or replaces the subscription of the same client and share [MQTT-3.8.4-3].
    pub(crate) fn add(&mut self, topic_filter: &TopicFilter, subscriber: Subscriber) {
        let Subscriber { client, state } = subscriber;
        if topic_filter.share_name().is_none() {
            return self.plain.insert(client, state);
        }
        let shares = self.shares.get_or_insert_default();
        let new = || (topic_filter.clone(), Share::One(client, state));
        if let Some(share) = shares.get_or_insert_with(&**topic_filter, new) {
            share.add(client, state);
        }
    }

    /// Removes a subscription. Returns `true` if this topic filter has no subscription any more.
    pub(crate) fn remove(&mut self, topic_filter: &TopicFilter, client: ClientKey) -> bool {
        if topic_filter.share_name().is_none() {
            self.plain.remove(&client);
        } else if let Some(shares) = &mut self.shares {
            if let Some(share) = shares.get_mut(&**topic_filter) {
                if share.remove(client) {
                    shares.remove(&**topic_filter);
                }
            }
            // Without the box, the filter takes as little memory as before its first shared subscription.
            if shares.is_empty() {
                self.shares = None;
            }
        }
        self.plain.is_empty() && self.shares.is_none()
    }

    /// Returns the subscriptions that are not shared, in the order of their clients.
    pub(crate) fn plain(&self) -> impl Iterator<Item = Subscriber> {
        let subscriber = |(client, state): (&ClientKey, &SubscriptionState)| Subscriber {
            client: *client,
            state: *state,
        };
        self.plain.iter().map(subscriber)
    }

    /// Returns the shared subscriptions with their whole filters, in the order of these filters.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (&TopicFilter, &Share)> {
        let shares = self.shares.as_deref();
        shares.into_iter().flat_map(SmallMap::iter)
    }

    /// Returns the shared subscription with this filter.
    pub(crate) fn share(&self, topic_filter: &TopicFilter) -> Option<&Share> {
        self.shares.as_ref()?.get(&**topic_filter)
    }
}

impl Share {
    fn add(&mut self, client: ClientKey, state: SubscriptionState) {
        match self {
            Self::One(only, own) if *only == client => *own = state,
            Self::One(only, own) => {
                let mut several = Members::default();
                several.members.insert(*only, *own);
                several.members.insert(client, state);
                *self = Self::Several(Box::new(several));
            }
            Self::Several(several) => several.members.insert(client, state),
        }
    }

    /// Removes a member. Returns `true` if the share has no member any more.
    fn remove(&mut self, client: ClientKey) -> bool {
        match self {
            Self::One(only, _) => *only == client,
            Self::Several(several) => {
                several.members.remove(&client);
                several.members.is_empty()
            }
        }
    }

    /// Chooses the member that receives the next message. Members take turns, and connected members come before the
    /// others. Returns `None` if all members are unable to receive the message.
    pub(crate) fn choose(
        &self,
        state_of: impl Fn(&Subscriber) -> MemberState,
    ) -> Option<Subscriber> {
        match self {
            Self::One(client, state) => {
                let member = Subscriber {
                    client: *client,
                    state: *state,
                };
                (state_of(&member) > MemberState::Unable).then_some(member)
            }
            Self::Several(several) => several.choose(state_of),
        }
    }
}

impl Members {
    fn choose(&self, state_of: impl Fn(&Subscriber) -> MemberState) -> Option<Subscriber> {
        // The first member that is `Present` is chosen. If no member is, the first member that is `Away` is chosen.
        let mut best = (MemberState::Unable, None);
        for (client, state) in self.members.iter_after(self.last.get().as_ref()) {
            let member = Subscriber {
                client: *client,
                state: *state,
            };
            let state_of = state_of(&member);
            if state_of > best.0 {
                best = (state_of, Some(member));
            }
            if state_of == MemberState::Present {
                break;
            }
        }
        let (_, chosen) = best;
        if let Some(chosen) = chosen {
            self.last.set(Some(chosen.client));
        }
        chosen
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
        state_of: impl Fn(usize) -> MemberState,
    ) -> Option<usize> {
        let index = |subscriber: &Subscriber| {
            clients
                .iter()
                .position(|client| *client == subscriber.client)
                .unwrap()
        };
        let (_, share) = subscribers.shares().next().unwrap();
        let chosen = share.choose(|subscriber| state_of(index(subscriber)));
        chosen.map(|subscriber| index(&subscriber))
    }

    #[test]
    fn messages_rotate_over_members_and_prefer_connected_ones() {
        let (_keys, clients, subscribers, _) = world(3);
        let all = |_| MemberState::Present;
        let turns: Vec<_> = (0..4)
            .map(|_| choose(&subscribers, &clients, all))
            .collect();
        assert_eq!(turns, [Some(0), Some(1), Some(2), Some(0)]);
        let only_two = |index| match index {
            2 => MemberState::Present,
            _ => MemberState::Away,
        };
        assert_eq!(choose(&subscribers, &clients, only_two), Some(2));
        assert_eq!(
            choose(&subscribers, &clients, |_| MemberState::Away),
            Some(0)
        );
        assert_eq!(
            choose(&subscribers, &clients, |_| MemberState::Unable),
            None
        );
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
    }

    #[test]
    fn member_that_leaves_does_not_change_the_rotation() {
        let (_keys, clients, mut subscribers, topic_filter) = world(3);
        let all = |_| MemberState::Present;
        assert_eq!(choose(&subscribers, &clients, all), Some(0));
        assert!(!subscribers.remove(&topic_filter, clients[0]));
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
        assert!(!subscribers.remove(&topic_filter, clients[2]));
        assert_eq!(choose(&subscribers, &clients, all), Some(1));
        assert!(subscribers.remove(&topic_filter, clients[1]));
    }

    /// If each operation searched a list from its beginning, this test would take minutes.
    #[test]
    fn a_filter_has_a_hundred_thousand_shares_and_members() {
        let (_keys, clients, mut subscribers, topic_filter) = world(100_000);
        let state = SubscriptionState {
            options: SubscriptionOptions::new(QoS::AtMostOnce),
            identifier: None,
        };
        let client = clients[0];
        let shares: Vec<_> = (0..100_000)
            .map(|share| TopicFilter::new(&format!("$share/{share:06}/a")).unwrap())
            .collect();
        let plain = TopicFilter::new("a").unwrap();
        for share in &shares {
            subscribers.add(share, Subscriber { client, state });
        }
        for &client in &clients {
            subscribers.add(&plain, Subscriber { client, state });
        }
        assert_eq!(subscribers.shares().count(), 100_001);
        assert!(
            subscribers
                .plain()
                .map(|plain| plain.client)
                .eq(clients.iter().copied())
        );
        for share in &shares {
            assert!(!subscribers.remove(share, client));
        }
        for &client in &clients {
            assert!(!subscribers.remove(&plain, client));
        }
        let gone = clients
            .iter()
            .map(|client| subscribers.remove(&topic_filter, *client));
        assert_eq!(gone.filter(|is_empty| *is_empty).count(), 1);
    }

    #[test]
    fn one_plain_subscription_is_as_small_as_a_vector() {
        assert!(size_of::<Subscribers>() <= 32);
        assert!(size_of::<Share>() <= 16);
    }
}
