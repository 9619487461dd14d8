//! [`Client`]: the state of one client, connected or not.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{
    Connect, PacketIdentifier, ProtocolVersion, QoS, SubscriptionIdentifier, SubscriptionOptions,
    TopicFilter, Will,
};
use mqtt_session::{OutboundMessage, Session};
use slotmap::new_key_type;

use crate::auth::policy::Principal;
use crate::connection::ConnectionId;
use crate::sessions::queue::{Queue, Queued};
use crate::sessions::replay::Replays;

/// Tables of this size are not worth shrinking.
const SMALL_TABLE: usize = 64;

new_key_type! {
    /// Identifies a client from its first CONNECT to the end of its session. A key is never reused.
    pub(crate) struct ClientKey;
}

#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) identifier: Arc<str>,
    /// The principal whose permissions the client has.
    pub(crate) principal: Principal,
    pub(crate) connection: Option<ConnectionId>,
    /// The protocol's session, while the client is not connected. Otherwise the connection has it.
    pub(crate) session: Option<Box<Session>>,
    /// A hash table, which is smaller than a tree for few subscriptions.
    pub(crate) subscriptions: HashMap<TopicFilter, SubscriptionState>,
    /// The subscription identifiers in use, and how many subscriptions have each.
    identifiers: BTreeMap<SubscriptionIdentifier, usize>,
    pub(crate) queue: Queue,
    /// The retained messages that the client has not received yet.
    pub(crate) replays: Replays,
    /// Set if sending continues when its timer fires.
    pub(crate) resumes: Option<Instant>,
    pub(crate) stored: Stored,
    /// The numbers of the messages that are sent and not finished, if the client is stored.
    pub(crate) in_flight: BTreeMap<PacketIdentifier, u64>,
    /// The number of the next message.
    pub(crate) next_number: u64,
    /// The lowest number above those of the messages that were sent.
    pub(crate) next_to_send: u64,
    pub(crate) will: Option<Box<Will>>,
    /// The time at which the will is published, while the client is not connected.
    pub(crate) will_due: Option<Instant>,
    pub(crate) expiry: Expiry,
    /// The end of the session, while the client is not connected.
    pub(crate) session_ends: Option<Instant>,
    /// The timer entry that counts.
    pub(crate) scheduled: Option<Instant>,
}

/// The part of a client that is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stored {
    Nothing,
    /// The will of a client whose session ends with its connection. The will outlives the connection.
    Will,
    /// The session with its subscriptions and messages, and the will.
    Session,
}
/// Different subscription identifiers that a client may use. A message carries those of all subscriptions that match
/// it, so this bounds what they add to each message that waits: 4 kB.
const MAXIMUM_SUBSCRIPTION_IDENTIFIERS: usize = 1024;

/// The options and the identifier of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionState {
    /// The options, with the QoS that was granted.
    pub options: SubscriptionOptions,
    /// The identifier that goes with its messages.
    pub identifier: Option<SubscriptionIdentifier>,
}

/// The time for which a session outlives its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// The session ends with its connection.
    WithConnection,
    /// The session ends after this time.
    After(Duration),
    /// The session never expires.
    Never,
}

impl Expiry {
    pub(crate) fn of_connect(connect: &Connect) -> Self {
        match connect.protocol_version {
            ProtocolVersion::V5_0 => {
                Self::of_interval(connect.properties.session_expiry_interval.unwrap_or(0))
            }
            // Clean Session 1 ends with the connection, 0 is without end.
            _ if connect.clean_start => Self::WithConnection,
            _ => Self::Never,
        }
    }

    /// Returns the shorter one of this expiry and the limit.
    pub(crate) fn at_most(self, longest: Option<Duration>) -> Self {
        match (self, longest) {
            (Self::Never, Some(longest)) => Self::After(longest),
            (Self::After(time), Some(longest)) => Self::After(time.min(longest)),
            (expiry, _) => expiry,
        }
    }

    /// Returns the Session Expiry Interval in seconds.
    pub fn interval(self) -> u32 {
        match self {
            Self::WithConnection => 0,
            Self::After(time) => u32::try_from(time.as_secs()).unwrap_or(u32::MAX - 1),
            Self::Never => u32::MAX,
        }
    }

    /// Returns the expiry for a Session Expiry Interval in seconds.
    pub fn of_interval(seconds: u32) -> Self {
        match seconds {
            0 => Self::WithConnection,
            u32::MAX => Self::Never,
            seconds => Self::After(Duration::from_secs(seconds.into())),
        }
    }
}

impl Client {
    pub(crate) fn new(identifier: Arc<str>) -> Self {
        Self {
            principal: Principal {
                user_name: None,
                client_identifier: Arc::clone(&identifier),
                listener: 0,
            },
            identifier,
            connection: None,
            session: None,
            subscriptions: HashMap::new(),
            identifiers: BTreeMap::new(),
            queue: Queue::default(),
            replays: Replays::default(),
            resumes: None,
            stored: Stored::Nothing,
            in_flight: BTreeMap::new(),
            next_number: 0,
            next_to_send: 0,
            will: None,
            will_due: None,
            expiry: Expiry::WithConnection,
            session_ends: None,
            scheduled: None,
        }
    }

    /// Adds a subscription or replaces the one with the same filter.
    pub(crate) fn insert_subscription(
        &mut self,
        topic_filter: TopicFilter,
        state: SubscriptionState,
    ) {
        if let Some(identifier) = state.identifier {
            *self.identifiers.entry(identifier).or_default() += 1;
        }
        let before = self.subscriptions.insert(topic_filter, state);
        self.release_identifier(before);
    }

    /// Returns `true` if a subscription with this identifier would be one more than a client may have.
    pub(crate) fn has_too_many_identifiers(
        &self,
        identifier: Option<SubscriptionIdentifier>,
    ) -> bool {
        identifier.is_some_and(|identifier| {
            self.identifiers.len() >= MAXIMUM_SUBSCRIPTION_IDENTIFIERS
                && !self.identifiers.contains_key(&identifier)
        })
    }

    fn release_identifier(&mut self, state: Option<SubscriptionState>) {
        let identifier = state.and_then(|state| state.identifier);
        let entry = identifier.map(|identifier| self.identifiers.entry(identifier));
        if let Some(Entry::Occupied(mut count)) = entry {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Puts a message into the queue, and returns its number.
    pub(crate) fn enqueue(&mut self, outgoing: OutboundMessage) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        let holds = outgoing.qos == QoS::AtMostOnce || !self.replays.is_empty();
        self.queue.push(Queued {
            number,
            outgoing,
            holds,
        });
        number
    }

    /// Removes a subscription. Returns `true` if it was there.
    pub(crate) fn remove_subscription(&mut self, topic_filter: &TopicFilter) -> bool {
        let removed = self.subscriptions.remove(topic_filter);
        self.release_identifier(removed);
        // A table never shrinks alone. At a quarter it is halved, which each removal pays a share of.
        let count = self.subscriptions.len();
        if self.subscriptions.capacity() > SMALL_TABLE.max(4 * count) {
            self.subscriptions.shrink_to(2 * count);
        }
        removed.is_some()
    }

    /// Returns the next deadline of the client.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.will_due, self.session_ends, self.resumes]
            .into_iter()
            .flatten()
            .min()
    }
}
