//! [`Client`]: the state of one client, from its first CONNECT to the end of its session.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{
    Connect, PacketIdentifier, ProtocolVersion, QoS, SubscriptionIdentifier, TopicFilter, Will,
};
use mqtt_session::{OutboundMessage, Session};

use crate::auth::policy::Principal;
use crate::keys::ConnectionId;
use crate::sessions::queue::{Queue, Queued};
use crate::sessions::retained_replays::RetainedReplays;
use crate::topics::subscriptions::SubscriptionState;

/// Tables with at most this capacity are not shrunk, because they waste little memory.
const SMALL_TABLE: usize = 64;

/// A client that is connected or has a session.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) identifier: Arc<str>,
    /// The user name and the listener, which decide the permissions.
    pub(crate) principal: Principal,
    /// The connection of the client. `None` while the client is not connected.
    pub(crate) connection: Option<ConnectionId>,
    /// The exchanges of QoS 1 and 2. `None` while the client is connected, because the connection owns the session
    /// then.
    pub(crate) session: Option<Box<Session>>,
    /// The subscriptions, in a hash table, because it takes less memory than a tree for few entries. No result depends
    /// on its order.
    pub(crate) subscriptions: HashMap<TopicFilter, SubscriptionState>,
    /// The subscription identifiers in use, each with the number of subscriptions that have it.
    identifiers: BTreeMap<SubscriptionIdentifier, usize>,
    /// The messages that wait for the client.
    pub(crate) queue: Queue,
    /// The retained messages that the client has not received yet.
    pub(crate) retained_replays: RetainedReplays,
    /// The time at which `send_queue` continues, if its last call has spent all its steps.
    pub(crate) resumes: Option<Instant>,
    /// The part of the client that is stored.
    pub(crate) stored: Stored,
    /// The numbers of the messages in flight, if the broker has a store.
    pub(crate) in_flight: BTreeMap<PacketIdentifier, u64>,
    /// The number of the next message.
    pub(crate) next_number: u64,
    /// The lowest number that is above the numbers of all messages that were sent.
    pub(crate) next_to_send: u64,
    /// The will, until it is published or withdrawn.
    pub(crate) will: Option<Box<Will>>,
    /// The time at which the will is published. `None` while the client is connected.
    pub(crate) will_due: Option<Instant>,
    /// The time for which the session outlives its connection.
    pub(crate) expiry: Expiry,
    /// The time at which the session ends. `None` while the client is connected or if the session never expires.
    pub(crate) session_ends: Option<Instant>,
    /// The time of the timer entry of this client.
    pub(crate) scheduled: Option<Instant>,
}

/// The part of a client that is stored. Each variant includes the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stored {
    /// The store has nothing of the client: its session ends with its connection, and it has no will.
    Nothing,
    /// The will of a client whose session ends with its connection.
    Will,
    /// The session with its subscriptions and messages, and the will.
    Session,
}

/// Maximum number of different subscription identifiers of a client. A queued message has the identifiers of all
/// subscriptions that match it. An identifier takes four bytes, so they add at most 4 KiB to each queued message.
const MAXIMUM_SUBSCRIPTION_IDENTIFIERS: usize = 1024;

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
    /// Returns the expiry that a CONNECT requests.
    pub(crate) fn of_connect(connect: &Connect) -> Self {
        match connect.protocol_version {
            ProtocolVersion::V5_0 => {
                Self::of_interval(connect.properties.session_expiry_interval.unwrap_or(0))
            }
            // In 3.x a session with Clean Session 1 ends with its connection, and one with Clean Session 0 never
            // expires.
            _ if connect.clean_start => Self::WithConnection,
            _ => Self::Never,
        }
    }

    /// Returns the shorter time of this expiry and `longest`.
    pub(crate) fn at_most(self, longest: Option<Duration>) -> Self {
        match (self, longest) {
            (Self::Never, Some(longest)) => Self::After(longest),
            (Self::After(time), Some(longest)) => Self::After(time.min(longest)),
            (expiry, _) => expiry,
        }
    }

    /// Returns the Session Expiry Interval in seconds. `u32::MAX` means that the session never expires (MQTT 5.0,
    /// 3.1.2.11.2), so a time that does not fit gives `u32::MAX - 1`.
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
            retained_replays: RetainedReplays::default(),
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
        // The new identifier is counted before the old subscription is released. Otherwise an identifier that both
        // subscriptions have would be removed and inserted again.
        if let Some(identifier) = state.identifier {
            *self.identifiers.entry(identifier).or_default() += 1;
        }
        let before = self.subscriptions.insert(topic_filter, state);
        self.release_identifier(before);
    }

    /// Returns `true` if a subscription with this identifier would exceed `MAXIMUM_SUBSCRIPTION_IDENTIFIERS`.
    pub(crate) fn has_too_many_identifiers(
        &self,
        identifier: Option<SubscriptionIdentifier>,
    ) -> bool {
        identifier.is_some_and(|identifier| {
            self.identifiers.len() >= MAXIMUM_SUBSCRIPTION_IDENTIFIERS
                && !self.identifiers.contains_key(&identifier)
        })
    }

    /// Counts one subscription less for the identifier of a removed subscription.
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

    /// Adds a message to the queue, and returns its number.
    pub(crate) fn enqueue(&mut self, outgoing: OutboundMessage) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        // See `Queued::blocks_qos_0`. While a replay is active, any queued message may wait for it.
        let blocks_qos_0 = outgoing.qos == QoS::AtMostOnce || !self.retained_replays.is_empty();
        self.queue.push(Queued {
            number,
            outgoing,
            blocks_qos_0,
        });
        number
    }

    /// Removes a subscription. Returns `true` if the client had the subscription.
    pub(crate) fn remove_subscription(&mut self, topic_filter: &TopicFilter) -> bool {
        let removed = self.subscriptions.remove(topic_filter);
        self.release_identifier(removed);
        // A hash table never shrinks by itself. It is shrunk to half of its capacity when a quarter is in use, so that
        // the cost of moving the entries is spread over many removals.
        let count = self.subscriptions.len();
        if self.subscriptions.capacity() > SMALL_TABLE.max(4 * count) {
            self.subscriptions.shrink_to(2 * count);
        }
        removed.is_some()
    }

    /// Returns the first deadline of will, session expiry and sending.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.will_due, self.session_ends, self.resumes]
            .into_iter()
            .flatten()
            .min()
    }
}
