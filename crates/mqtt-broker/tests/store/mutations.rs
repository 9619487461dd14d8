//! The mutations that the tests commit, and a system whose clocks the tests set.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{BootTime, Clock, Store, StoreError, SyncPolicy};
use mqtt_broker_core::{ClientState, Expiry, Mutation, Retained, Snapshot};
use mqtt_codec::*;
use mqtt_session::OutboundMessage;

pub(crate) fn open(path: &Path) -> Result<Snapshot, StoreError> {
    Store::open(path, SyncPolicy::Always, Clock::now())?.load(Clock::now())
}

pub(crate) fn retained(number: u32) -> Mutation {
    let topic_name = TopicName::new(&format!("t/{number}")).unwrap();
    let mut message = Message::new(topic_name.clone(), format!("payload {number}").repeat(20));
    message.retain = true;
    let retained = Some(Retained {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        expires: None,
        source: None,
        version: number.into(),
    });
    Mutation::Retained {
        topic_name,
        retained,
    }
}

/// Returns the mutations for a message of QoS 1 that waits for these clients.
pub(crate) fn queued(
    message: &Arc<Message>,
    number: u64,
    clients: std::ops::Range<u32>,
) -> Vec<Mutation> {
    let queued = |client| Mutation::Queued {
        client: format!("client{client}").into(),
        number,
        outgoing: OutboundMessage {
            retain: client % 2 == 0,
            ..OutboundMessage::new(Arc::clone(message), QoS::AtLeastOnce)
        }
        .with_subscriptions(
            // Each delivery has a subscription identifier of its own.
            SubscriptionIdentifier::new(client + 1)
                .into_iter()
                .collect(),
            (client % 3 == 0).then(|| TopicFilter::new("$share/g/t").unwrap()),
        ),
    };
    clients.map(queued).collect()
}

pub(crate) fn finished(number: u64, clients: std::ops::Range<u32>) -> Vec<Mutation> {
    let finished = |client| Mutation::Finished {
        client: format!("client{client}").into(),
        number,
    };
    clients.map(finished).collect()
}

pub(crate) fn sessions(clients: std::ops::Range<u32>) -> Vec<Mutation> {
    let session = |client| Mutation::Client {
        client: format!("client{client}").into(),
        state: ClientState {
            user_name: None,
            listener: 0,
            expiry: Expiry::Never,
            session_ends: None,
            is_connected: false,
            will: None,
            will_due: None,
        },
    };
    clients.map(session).collect()
}

pub(crate) fn message(size: usize) -> Arc<Message> {
    let topic_name = TopicName::new("t").unwrap();
    Arc::new(Message::new(topic_name, vec![b'x'; size]))
}

/// A system whose clocks the test sets.
#[derive(Clone, Copy)]
pub(crate) struct System {
    pub(crate) now: Instant,
    pub(crate) wall: SystemTime,
    pub(crate) boot: BootTime,
}

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

impl System {
    pub(crate) fn new() -> Self {
        Self {
            now: Instant::now(),
            // The wall clock is far after the year of the program, so that it can be set back.
            wall: SystemTime::UNIX_EPOCH + YEAR * 80,
            boot: BootTime {
                id: 1,
                elapsed: HOUR,
            },
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock {
            now: self.now,
            wall: self.wall,
            boot: Some(self.boot),
        }
    }

    pub(crate) fn passes(&mut self, time: Duration) {
        self.now += time;
        self.wall += time;
        self.boot.elapsed += time;
    }

    pub(crate) fn boots(&mut self) {
        self.boot.id += 1;
        self.boot.elapsed = Duration::ZERO;
    }
}
