//! [`Mutation`]: a change that must survive a crash of the broker. The core has no store: the caller commits all
//! mutations since the last `take_mutations` together. Output that depends on these mutations waits for the commit
//! (`commit_gate.rs`).
//!
//! Mutations are made for retained messages, for sessions that outlive their connection, and for wills. A session that
//! ends with its connection makes no mutations, so it causes no sync. The will of its client is stored, however: from
//! before CONNACK until the will is published or withdrawn. The broker must publish a will after a crash too
//! [MQTT-3.1.2-8].

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Message, PacketIdentifier, TopicFilter, TopicName, Will};
use mqtt_session::OutboundMessage;

use crate::sessions::client::{Client, Expiry};
use crate::sessions::retained_replays::RetainedReplayState;
use crate::topics::retained::Retained;
use crate::topics::subscriptions::SubscriptionState;

/// A change that the store must apply. Mutations must be applied in the order in which they were made.
///
/// `client` is the client identifier. `number` identifies a message for this client, and messages are sent in ascending
/// order of `number`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // fields of the same name have the same meaning in every variant
pub enum Mutation {
    /// A client has connected or disconnected, and has this state now.
    Client {
        client: Arc<str>,
        state: ClientState,
    },
    /// The session of a client has ended, with everything that belongs to it.
    ClientRemoved { client: Arc<str> },
    /// A client has added or replaced a subscription.
    Subscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: SubscriptionState,
    },
    /// A client has unsubscribed.
    Unsubscribed {
        client: Arc<str>,
        topic_filter: TopicFilter,
    },
    /// A replay of retained messages has advanced to this state, or has ended if `state` is `None`.
    RetainedReplay {
        client: Arc<str>,
        topic_filter: TopicFilter,
        state: Option<RetainedReplayState>,
    },
    /// The broker must deliver a message to the client.
    Queued {
        client: Arc<str>,
        number: u64,
        outgoing: OutboundMessage,
    },
    /// The message was sent to the client with this packet identifier.
    Sent {
        client: Arc<str>,
        number: u64,
        packet_identifier: PacketIdentifier,
    },
    /// The client has sent PUBREC, or the broker has withdrawn the message. The message is no longer needed, but its
    /// packet identifier is in use until PUBCOMP.
    Released { client: Arc<str>, number: u64 },
    /// The delivery of the message is complete, or the message was dropped.
    Finished { client: Arc<str>, number: u64 },
    /// The broker has accepted a message of QoS 2 from the client. The packet identifier is stored until PUBREL, so
    /// that the broker recognises duplicates.
    Held {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The client has sent PUBREL for a message of QoS 2, so its packet identifier is free again.
    Unheld {
        client: Arc<str>,
        packet_identifier: PacketIdentifier,
    },
    /// The retained message of a topic was replaced, or removed.
    Retained {
        topic_name: TopicName,
        retained: Option<Retained>,
    },
}

impl Mutation {
    /// Returns the application message that this mutation adds to the store.
    fn message(&self) -> Option<&Arc<Message>> {
        match self {
            Self::Queued { outgoing, .. } => Some(&outgoing.message),
            Self::Retained { retained, .. } => retained.as_ref().map(|retained| &retained.message),
            _ => None,
        }
    }
}

/// Returns the number of payload bytes in these mutations. A message for many clients counts once, because it is in
/// memory and in the store once.
pub fn payload_bytes(mutations: &[Mutation]) -> usize {
    let mut last: Option<&Arc<Message>> = None;
    let mut bytes = 0;
    for message in mutations.iter().filter_map(Mutation::message) {
        // The mutations of one message for many clients follow each other, so a comparison with the last one suffices.
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
    /// The user name of the client.
    pub user_name: Option<String>,
    /// The number of the listener at which the client has last connected.
    pub listener: u32,
    /// The time for which the session outlives its connection.
    pub expiry: Expiry,
    /// The time at which the session ends. `None` while the client is connected, or if the session never expires.
    pub session_ends: Option<Instant>,
    /// Set while the client is connected.
    pub is_connected: bool,
    /// The will, until it is published or withdrawn.
    pub will: Option<Will>,
    /// The time at which the broker publishes the will. `None` while the client is connected.
    pub will_due: Option<Instant>,
}

impl ClientState {
    /// Returns the state of the client as the store has it.
    pub(crate) fn of(client: &Client) -> Self {
        Self {
            user_name: client.principal.user_name.clone(),
            listener: client.principal.listener,
            expiry: client.expiry,
            session_ends: client.session_ends,
            is_connected: client.connection.is_some(),
            will: client.will.as_deref().cloned(),
            will_due: client.will_due,
        }
    }
}
