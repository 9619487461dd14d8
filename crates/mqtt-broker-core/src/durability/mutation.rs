//! What has to survive a crash of the broker: changes, as the core makes them in a turn, and the
//! state that they add up to. The core knows no store; who runs it makes the mutations of a turn durable
//! in one step, before a byte of the turn is written (rule 1 of `mqtt-session`).
//!
//! Sessions that outlive their connection are recorded, with their messages of QoS 1 and 2. Of a client whose
//! session ends with its connection only the will is recorded, from before its CONNACK until the will is published
//! or withdrawn: [MQTT-3.1.2-8] allows to publish it later, after a restart, but not to drop it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::{Message, PacketIdentifier, QoS, TopicFilter, TopicName, Will};
use mqtt_session::{Change, OutboundMessage, Session};

use crate::broker::Broker;
use crate::connection::ConnectionId;
use crate::sessions::client::{Client, ClientKey, Expiry, Stored, SubscriptionState};
use crate::sessions::queue::Queued;
use crate::sessions::replay::{Replay, ReplayState};
use crate::stats::SYSTEM;
use crate::topics::retained::Retained;
use crate::topics::subscriptions::Subscriber;

/// A change. `client` is a client identifier; `number` tells the messages of a client apart, in
/// their order.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // the fields say the same in each
pub enum Mutation {
    /// A client has connected, or gone: this is what is known of it now.
    Client {
        client: Arc<str>,
        state: ClientState,
    },
    /// Its session has ended, with all that belongs to it.
    ClientGone { client: Arc<str> },
    /// It has subscribed, perhaps again.
    Subscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: SubscriptionState,
    },
    /// It has unsubscribed.
    Unsubscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
    },
    /// The progress of a replay of retained messages, or its end.
    Replay {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: Option<ReplayState>,
    },
    /// A message waits for it.
    Queued {
        client: Arc<str>,
        number: u64,
        outgoing: OutboundMessage,
    },
    /// The message is sent, under this identifier.
    Sent {
        client: Arc<str>,
        number: u64,
        packet_identifier: PacketIdentifier,
    },
    /// The client has the message; the identifier is still in use.
    Released { client: Arc<str>, number: u64 },
    /// The message is done with.
    Finished { client: Arc<str>, number: u64 },
    /// A message of QoS 2 of the client's was taken over.
    Held {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The client has released it.
    Unheld {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The retained message of a topic, or that there is none.
    Retained {
        topic_name: TopicName,
        retained: Option<Retained>,
    },
}

impl Mutation {
    fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Queued { outgoing, .. } => Some(&outgoing.message),
            Self::Retained { retained, .. } => retained.as_ref().map(|retained| &retained.message),
            _ => None,
        }
    }
}

/// Returns the bytes of the payloads of these mutations. A message for many clients is in memory and in the store once,
/// and counts once.
pub fn payload_bytes(mutations: &[Mutation]) -> usize {
    let mut last: Option<&Arc<Message>> = None;
    let mut bytes = 0;
    for message in mutations.iter().filter_map(Mutation::message) {
        // The deliveries of a message come one after the other.
        if !last.is_some_and(|last| Arc::ptr_eq(last, message)) {
            bytes += message.payload.len();
        }
        last = Some(message);
    }
    bytes
}

/// The stored state of a client, without its messages and subscriptions.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientState {
    /// Its user name.
    pub user_name: Option<String>,
    /// The number of the listener where it last came in.
    pub listener: u32,
    /// The time for which the session outlives its connection.
    pub expiry: Expiry,
    /// When the session ends; `None` while it is connected, or without end.
    pub session_ends: Option<Instant>,
    /// Set while the client is connected.
    pub is_connected: bool,
    /// Its will, if that is still to come.
    pub will: Option<Will>,
    /// When the will is due, once the client is gone.
    pub will_due: Option<Instant>,
}

/// Everything that is stored.
#[derive(Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The clients with their sessions.
    pub clients: Vec<ClientSnapshot>,
    /// The retained messages.
    pub retained: Vec<Retained>,
}

/// A client as it is stored.
#[derive(Debug, PartialEq)]
pub struct ClientSnapshot {
    /// Its client identifier.
    pub identifier: String,
    /// The state of the client.
    pub state: ClientState,
    /// Its subscriptions.
    pub subscriptions: Vec<(TopicFilter, SubscriptionState)>,
    /// Subscriptions whose retained messages it has not all got yet, in the order in which they began.
    pub replays: Vec<(TopicFilter, ReplayState)>,
    /// Its messages, in order.
    pub deliveries: Vec<DeliverySnapshot>,
    /// Identifiers of messages of QoS 2 that were taken over.
    pub held: Vec<PacketIdentifier>,
}

/// A message for a client.
#[derive(Debug, PartialEq)]
pub struct DeliverySnapshot {
    /// Its place in the order.
    pub number: u64,
    /// The message; `None` once it was released.
    pub outgoing: Option<OutboundMessage>,
    /// The identifier it was sent under, if it was.
    pub sent: Option<PacketIdentifier>,
}

impl Broker {
    /// From now on changes are recorded, for `take_mutations`.
    pub fn record_mutations(&mut self) {
        self.mutations.get_or_insert_default();
    }

    /// Returns the changes since the last call. The caller makes them durable between `begin_commit` and
    /// `end_commit`.
    ///
    /// Empty while a publication is partly recorded: its mutations are committed together.
    pub fn take_mutations(&mut self) -> Vec<Mutation> {
        if self.holds_mutations() {
            return Vec::new();
        }
        self.release_fan_outs();
        self.backlog(); // counts them
        self.throttle.take_counted();
        self.mutations
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// Begins with what was stored. Every client counts as having lost its connection just now, if
    /// it had one: wills become due, sessions begin to expire.
    pub fn restore(&mut self, now: Instant, mut saved: Snapshot) {
        self.drop_too_deep(&mut saved);
        for retained in saved.retained {
            self.retained.restore(retained);
        }
        self.await_sweep(now);
        // All are there before the first will is published.
        let restored: Vec<_> = saved
            .clients
            .into_iter()
            .map(|client| (client.state.is_connected, self.restore_client(now, client)))
            .collect();
        for (was_connected, key) in restored {
            match was_connected {
                true => self.client_is_gone(now, key),
                false => self.handle_client_timeout(now, key),
            }
        }
    }

    /// Returns the sum of all mutations so far, which the store has when they are committed. Times that have passed are
    /// `now`.
    pub fn save(&self, now: Instant) -> Snapshot {
        let mut saved = Snapshot::default();
        for client in self
            .by_identifier
            .values()
            .filter_map(|key| self.clients.get(*key))
        {
            if client.stored > Stored::Nothing {
                saved.clients.push(self.save_client(now, client));
            }
        }
        self.retained.each(|retained| {
            if retained.message.topic_name.starts_with(SYSTEM) {
                return; // made anew
            }
            saved.retained.push(Retained {
                message: with_retain(&retained.message, true),
                expires: retained.expires.map(|expires| expires.max(now)),
                qos: retained.qos,
                source: retained.source.clone(),
                version: retained.version,
            });
        });
        let topic_name = |retained: &Retained| retained.message.topic_name.clone();
        saved.retained.sort_by_key(topic_name);
        saved
    }

    fn save_client(&self, now: Instant, client: &Client) -> ClientSnapshot {
        let state = ClientState {
            session_ends: client.session_ends.map(|ends| ends.max(now)),
            will_due: client.will_due.map(|due| due.max(now)),
            ..client.state()
        };
        let mut saved = ClientSnapshot {
            identifier: client.identifier.to_string(),
            state: ClientState {
                // A delay of zero is none.
                will: state.will.map(|will| Will {
                    will_delay_interval: will.will_delay_interval.filter(|delay| *delay > 0),
                    ..will
                }),
                ..state
            },
            subscriptions: Vec::new(),
            replays: Vec::new(),
            deliveries: Vec::new(),
            held: Vec::new(),
        };
        if client.stored == Stored::Session {
            self.save_session(now, client, &mut saved);
        }
        saved
    }

    fn save_session(&self, now: Instant, client: &Client, saved: &mut ClientSnapshot) {
        let connection = client.connection.and_then(|id| self.connections.get(id));
        let session = match connection {
            Some(connection) => Some(connection.protocol.session()),
            None => client.session.as_deref(),
        };
        let sent = session.into_iter().flat_map(Session::sent);
        let sent = sent.filter_map(|(packet_identifier, outgoing)| {
            Some(DeliverySnapshot {
                number: *client.in_flight.get(&packet_identifier)?,
                outgoing: outgoing.map(|outgoing| as_stored(outgoing, now)),
                sent: Some(packet_identifier),
            })
        });
        let is_kept = |queued: &&Queued| queued.outgoing.qos > QoS::AtMostOnce;
        let waiting = client
            .queue
            .iter()
            .filter(is_kept)
            .map(|queued| DeliverySnapshot {
                number: queued.number,
                outgoing: Some(as_stored(&queued.outgoing, now)),
                sent: None,
            });
        saved.deliveries = sent.chain(waiting).collect();
        saved.deliveries.sort_by_key(|delivery| delivery.number); // as the store has them
        saved.held = session.into_iter().flat_map(Session::held).collect();
        let subscriptions = client.subscriptions.iter();
        saved.subscriptions = subscriptions
            .map(|(topic_filter, state)| (topic_filter.clone(), *state))
            .collect();
        saved.subscriptions.sort_by(|a, b| a.0.cmp(&b.0));
        let replays = client.replays.iter();
        let replays = replays.filter_map(|replay| {
            let recorded = replay.recorded.clone()?;
            Some((replay.topic_filter.clone(), recorded))
        });
        saved.replays = replays.collect();
        saved
            .replays
            .sort_by(|a, b| (a.1.number, &a.0).cmp(&(b.1.number, &b.0)));
    }

    fn restore_client(&mut self, now: Instant, saved: ClientSnapshot) -> ClientKey {
        let identifier: Arc<str> = saved.identifier.into();
        let mut client = Client::new(Arc::clone(&identifier));
        client.next_number = saved.deliveries.last().map_or(0, |last| last.number + 1);
        let mut sent = Vec::new();
        for delivery in saved.deliveries {
            match (delivery.sent, delivery.outgoing) {
                (Some(packet_identifier), outgoing) => {
                    client.in_flight.insert(packet_identifier, delivery.number);
                    client.next_to_send = client.next_to_send.max(delivery.number + 1);
                    sent.push((packet_identifier, outgoing));
                }
                (None, Some(outgoing)) => {
                    let number = delivery.number;
                    client.queue.push(Queued {
                        number,
                        outgoing,
                        holds: false,
                    });
                }
                (None, None) => {}
            }
        }
        self.statistics.count_queue((0, 0), client.queue.totals());
        for (topic_filter, state) in saved.replays {
            // New messages get numbers and versions that are not before those of the replays.
            client.next_number = client.next_number.max(state.number);
            self.retained.raise_version(state.version);
            client.replays.insert(Replay {
                topic_filter,
                recorded: Some(state.clone()),
                state,
            });
        }
        client.session = Some(Box::new(Session::restore(sent, saved.held)));
        for (topic_filter, state) in &saved.subscriptions {
            client.insert_subscription(topic_filter.clone(), *state);
        }
        client.principal.user_name = saved.state.user_name;
        client.principal.listener = saved.state.listener;
        client.expiry = saved.state.expiry;
        client.will = saved.state.will.map(Box::new);
        client.stored = self.part_to_store(&client);
        // A clock that has jumped back makes nothing last longer than it was to last.
        let longest = match client.expiry {
            Expiry::After(time) => now.checked_add(time),
            Expiry::WithConnection | Expiry::Never => None,
        };
        let session_ends = saved.state.session_ends;
        client.session_ends = session_ends.map(|ends| longest.map_or(ends, |most| ends.min(most)));
        let delay = |will: &Will| Duration::from_secs(will.will_delay_interval.unwrap_or(0).into());
        let latest = client.will.as_ref().map(|will| now + delay(will));
        client.will_due = saved.state.will_due.min(latest);
        let subscriptions = saved.subscriptions;
        let key = self.clients.insert(client);
        self.by_identifier.insert(identifier, key);
        for (topic_filter, state) in subscriptions {
            self.statistics.subscribed(&topic_filter, 1);
            let subscriber = Subscriber { client: key, state };
            self.subscriptions
                .insert(topic_filter.without_share(), |subscribers| {
                    subscribers.add(&topic_filter, subscriber)
                });
        }
        key
    }

    /// Records something of a session, if it is one that is stored.
    pub(crate) fn note(&mut self, key: ClientKey, mutation: impl FnOnce(&Client) -> Mutation) {
        self.note_part(key, Stored::Session, mutation);
    }

    /// Records something of a client, if at least this part of it is stored.
    fn note_part(
        &mut self,
        key: ClientKey,
        least: Stored,
        mutation: impl FnOnce(&Client) -> Mutation,
    ) {
        if let (Some(mutations), Some(client)) = (&mut self.mutations, self.clients.get(key)) {
            if client.stored >= least {
                mutations.push(mutation(client));
                if let Some(id) = client.connection {
                    self.hold_output(id);
                }
            }
        }
    }

    /// Records what is known of a client.
    pub(crate) fn note_client(&mut self, key: ClientKey) {
        self.note_part(key, Stored::Will, |client| Mutation::Client {
            client: Arc::clone(&client.identifier),
            state: client.state(),
        });
    }

    /// A client has connected: from now on it is stored as its expiry and its will ask for.
    pub(crate) fn store_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else {
            return;
        };
        let (before, part) = (client.stored, self.part_to_store(client));
        let identifier = Arc::clone(&client.identifier);
        if let Some(client) = self.clients.get_mut(key) {
            client.stored = part;
        }
        if part < before {
            self.note_gone(identifier);
        }
        self.note_client(key);
    }

    /// Returns the part of this client that has to survive the broker.
    fn part_to_store(&self, client: &Client) -> Stored {
        match (client.expiry, &client.will) {
            _ if self.mutations.is_none() => Stored::Nothing,
            (Expiry::After(_) | Expiry::Never, _) => Stored::Session,
            (Expiry::WithConnection, Some(_)) => Stored::Will,
            (Expiry::WithConnection, None) => Stored::Nothing,
        }
    }

    /// Records that the session of a client that was stored has ended.
    pub(crate) fn note_gone(&mut self, client: Arc<str>) {
        if let Some(mutations) = &mut self.mutations {
            mutations.push(Mutation::ClientGone { client });
        }
    }

    /// Records what has changed in the exchanges of a connection.
    pub(crate) fn note_changes(&mut self, id: ConnectionId) {
        if self.mutations.is_none() {
            return;
        }
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let changes = connection.protocol.take_changes();
        let before = self.mutations.as_ref().map_or(0, Vec::len);
        let Some(client) = connection.client.and_then(|key| self.clients.get_mut(key)) else {
            return;
        };
        let is_stored = client.stored == Stored::Session;
        for change in changes {
            let name = Arc::clone(&client.identifier);
            let mutation =
                match change {
                    Change::Sent(packet_identifier) => client
                        .in_flight
                        .get(&packet_identifier)
                        .map(|number| Mutation::Sent {
                            client: name,
                            number: *number,
                            packet_identifier,
                        }),
                    Change::Released(packet_identifier) => {
                        let number = client.in_flight.get(&packet_identifier);
                        number.map(|number| Mutation::Released {
                            client: name,
                            number: *number,
                        })
                    }
                    Change::Finished(packet_identifier) => {
                        let number = client.in_flight.remove(&packet_identifier);
                        number.map(|number| Mutation::Finished {
                            client: name,
                            number,
                        })
                    }
                    Change::Held(packet_identifier) => Some(Mutation::Held {
                        client: name,
                        packet_identifier,
                    }),
                    Change::Unheld(packet_identifier) => Some(Mutation::Unheld {
                        client: name,
                        packet_identifier,
                    }),
                };
            if let (Some(mutations), Some(mutation), true) =
                (&mut self.mutations, mutation, is_stored)
            {
                mutations.push(mutation);
            }
        }
        if self.mutation_count() > before {
            self.hold_output(id);
        }
    }

    /// Returns `true` if there are changes that `take_mutations` has not returned yet.
    pub fn has_mutations(&self) -> bool {
        self.mutation_count() > 0
    }

    /// How many mutations wait to be taken.
    #[inline]
    pub(crate) fn mutation_count(&self) -> usize {
        self.mutations.as_ref().map_or(0, Vec::len)
    }
}

impl Client {
    fn state(&self) -> ClientState {
        ClientState {
            user_name: self.principal.user_name.clone(),
            listener: self.principal.listener,
            expiry: self.expiry,
            session_ends: self.session_ends,
            is_connected: self.connection.is_some(),
            will: self.will.as_deref().cloned(),
            will_due: self.will_due,
        }
    }
}

/// The delivery as the store has it: the RETAIN flag is that of the delivery, not of the message.
fn as_stored(outgoing: &OutboundMessage, now: Instant) -> OutboundMessage {
    let stored = OutboundMessage {
        message: with_retain(&outgoing.message, false),
        ..outgoing.clone()
    };
    let expires = outgoing.expires();
    stored.with_expiry(expires.map(|expires| expires.max(now)))
}

fn with_retain(message: &Message, retain: bool) -> Arc<Message> {
    Arc::new(Message {
        retain,
        ..message.clone()
    })
}
