//! Deterministic simulation of the driver: the real driver, queues, tokens and readers, and the real core of the
//! client, on a simulated network with the core of rbroker at its other end. One seed decides the order of all steps
//! and when the connection is cut. No step waits: the driver runs only when a real thread would wake, so that a lost
//! wake-up shows as a run that makes no progress.

mod network;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mqtt_codec::{Message, ProtocolVersion, Subscription, SubscriptionOptions, TopicFilter};
use mqtt_session::OutboundMessage;

use self::network::{Network, Restarts, SMALL_PACKET_SIZE, SimulatedLink};
use super::*;
use crate::client::completion::Slot;
use crate::client::handover::Handover;
use crate::client::inbox::Inbox;
use crate::client::messages::{self, Messages};
use crate::client::outbox::{Outbox, PublishSlot};
use crate::core::ClientCore;
use crate::options::Options;

/// Records that the thread of the client was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A run: two publishers, one reader, and the driver.
struct Run {
    network: Rc<RefCell<Network>>,
    driver: Driver<SimulatedLink>,
    shared: Arc<Shared>,
    woken: Arc<Woken>,
    random: fastrand::Rng,
    /// The number of the next message of each publisher.
    next: [u32; 2],
    tokens: BTreeMap<String, (QoS, PublishSlot)>,
    messages: Messages,
    /// Number of times that each message was received.
    received: BTreeMap<String, usize>,
    /// Messages that the application has not acknowledged.
    unacknowledged: Vec<crate::InboundMessage>,
    is_manual: bool,
}

/// Number of messages of each publisher.
const MESSAGES: u32 = 60;

impl Run {
    fn new(seed: u64, restarts: Restarts) -> Self {
        let mut options = Options::new("server", 1883);
        if restarts == Restarts::WithOtherLimits {
            // Only CONNACK of MQTT 5.0 announces limits.
            options.connect.protocol_version = ProtocolVersion::V5_0;
        }
        options.connect.client_identifier = "client".into();
        options.connect.clean_start = false;
        options.connect.keep_alive = 0;
        options.connect.properties.session_expiry_interval = Some(u32::MAX);
        options.limits.maximum_in_flight = 10;
        options.limits.receive_maximum = 8;
        let woken = Arc::new(Woken::default());
        let outbox = Outbox::new(Arc::clone(&woken).into(), 5, usize::MAX);
        let shared = Arc::new(Shared::new(
            outbox,
            Inbox::new(8, usize::MAX),
            Arc::new(Handover::new()),
        ));
        let network = Rc::new(RefCell::new(Network::new(seed, restarts)));
        let link = SimulatedLink {
            core: ClientCore::new(options, None),
            network: Rc::clone(&network),
            input: Vec::new(),
            written: 0,
            is_paused: false,
            stopped: false,
        };
        let mut random = fastrand::Rng::with_seed(!seed);
        let is_manual = random.bool();
        let mut messages = Messages::new(Arc::clone(&shared));
        if is_manual {
            messages = messages.with_manual_acknowledgement();
        }
        Self {
            driver: Driver::new(link, Arc::clone(&shared)),
            network,
            shared,
            woken,
            random,
            next: [0; 2],
            tokens: BTreeMap::new(),
            messages,
            received: BTreeMap::new(),
            unacknowledged: Vec::new(),
            is_manual,
        }
    }

    /// Runs the driver if its thread would run now. Returns `false` if the thread would wait.
    fn drive(&mut self) -> bool {
        let is_woken = self.woken.0.swap(false, Ordering::SeqCst);
        if self.network.borrow().is_asleep && !is_woken {
            return false;
        }
        let result = self.driver.turn(None, None);
        result.expect("the client does not end");
        true
    }

    fn publish(&mut self, publisher: usize) -> bool {
        let number = self.next[publisher];
        if number == MESSAGES {
            return false;
        }
        let name = format!("{publisher}-{number}");
        let qos = QoS::from_value(self.random.u8(0..3)).expect("0 to 2");
        let mut message = Message::new(TopicName::new("t").expect("valid"), name.clone());
        if self.network.borrow().restarts == Restarts::WithOtherLimits {
            message.retain = self.random.u8(0..3) == 0;
            if self.random.u8(0..3) == 0 {
                message.payload = vec![b' '; SMALL_PACKET_SIZE as usize].into();
            }
        }
        let slot = Slot::new();
        let publication = Publication {
            outgoing: OutboundMessage::new(Arc::new(message), qos),
            slot: Arc::clone(&slot),
        };
        match self.shared.outbox.publish(publication, None) {
            Ok(()) => {
                self.tokens.insert(name, (qos, slot));
            }
            Err(PublishError::Disconnected { .. }) => assert_eq!(qos, QoS::AtMostOnce),
            Err(PublishError::QueueFull { .. }) => return false,
            Err(error) => panic!("{error}"),
        }
        self.next[publisher] += 1;
        true
    }

    fn read(&mut self) -> bool {
        let Some(message) = self
            .messages
            .try_receive()
            .expect("the client does not end")
        else {
            return self.acknowledge();
        };
        let name = message.text().expect("text").to_owned();
        *self.received.entry(name).or_default() += 1;
        if self.is_manual {
            self.unacknowledged.push(message);
        }
        true
    }

    /// Acknowledges one of the messages that the application holds, in any order.
    fn acknowledge(&mut self) -> bool {
        if self.unacknowledged.is_empty() {
            return false;
        }
        let index = self.random.usize(..self.unacknowledged.len());
        let message = self.unacknowledged.swap_remove(index);
        if let Some(handle) = message.handle {
            messages::acknowledge(&self.shared, handle, ReasonCode::Success);
        }
        true
    }

    fn subscribe(&mut self) {
        let slot = Slot::new();
        let request = Request::Subscribe {
            subscriptions: vec![Subscription {
                topic_filter: TopicFilter::new("t").expect("valid"),
                options: SubscriptionOptions::new(QoS::ExactlyOnce),
            }],
            properties: mqtt_codec::SubscribeProperties::default(),
            slot: Arc::clone(&slot),
        };
        self.shared.outbox.request(request).expect("it is open");
        while slot.result().is_none() {
            assert!(self.drive(), "the request is lost");
        }
    }

    /// Runs until all messages are published under faults, and then, without faults, until nothing is left to do.
    fn run(&mut self) {
        self.subscribe();
        let mut idle = 0;
        while self.next != [MESSAGES; 2] {
            let has_progress = match self.random.u8(0..5) {
                0 => self.publish(0),
                1 => self.publish(1),
                2 => self.read(),
                3 => self.acknowledge(),
                _ => self.drive(),
            };
            idle = if has_progress { 0 } else { idle + 1 };
            assert!(idle < 1000, "nothing makes progress");
        }
        self.network.borrow_mut().has_faults = false;
        loop {
            // Both must run, even if the first one has made progress.
            let (drives, reads) = (self.drive(), self.read());
            if !drives && !reads {
                break;
            }
        }
    }

    fn check_tokens(&self) {
        let has_limits = self.network.borrow().restarts == Restarts::WithOtherLimits;
        let (mut lost, mut failed) = (0, 0);
        for (name, (qos, slot)) in &self.tokens {
            match slot.result() {
                None => panic!("the token of {name} has no result"),
                Some(Ok(())) => {}
                Some(Err(PublishError::Lost { .. })) if *qos == QoS::AtMostOnce => lost += 1,
                Some(Err(error)) if has_limits && is_about_a_limit(error) => failed += 1,
                Some(Err(error)) => panic!("{name}: {error}"),
            }
        }
        let statistics = self.shared.failures.counters.statistics();
        assert_eq!(statistics.lost, lost);
        let finished = statistics.delivered + lost + failed;
        assert_eq!(finished, self.tokens.len() as u64);
        assert_eq!((statistics.failed, statistics.discarded), (failed, 0));
    }

    fn check_received(&self) {
        for (name, (qos, _)) in &self.tokens {
            let count = self.received.get(name).copied().unwrap_or(0);
            match qos {
                QoS::AtMostOnce => assert!(count <= 1, "{name}: {count}"),
                QoS::AtLeastOnce => assert!(count >= 1, "{name} is lost"),
                QoS::ExactlyOnce => assert_eq!(count, 1, "{name}"),
            }
        }
        assert!(
            self.received
                .keys()
                .all(|name| self.tokens.contains_key(name))
        );
    }

    /// Ends the client, which has nothing left to finish.
    fn end(mut self) {
        self.shared
            .outbox
            .close(Instant::now() + Duration::from_secs(60));
        assert!(self.woken.0.load(Ordering::SeqCst), "the driver sleeps");
        let ending = loop {
            if let Err(ending) = self.driver.turn(None, self.shared.outbox.closing()) {
                break ending;
            }
        };
        assert_eq!(ending.unfinished, 0);
        assert!(matches!(ending.reason, ConnectError::Closed));
        self.driver.end(ending);
        assert!(self.messages.receive(Duration::ZERO).is_err());
    }
}

/// Returns `true` if the message exceeds a limit that the server has announced in CONNACK.
fn is_about_a_limit(error: &PublishError) -> bool {
    match error {
        PublishError::Unsupported { .. } | PublishError::TooLarge { .. } => true,
        PublishError::Refused { reason_code, .. } => matches!(
            reason_code,
            ReasonCode::QoSNotSupported
                | ReasonCode::RetainNotSupported
                | ReasonCode::PacketTooLarge
        ),
        _ => false,
    }
}

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("SEEDS")
        .ok()
        .and_then(|text| text.parse().ok());
    0..count.unwrap_or(300)
}

#[test]
fn all_messages_arrive_under_cuts() {
    let mut cuts = 0;
    for seed in seeds() {
        println!("seed {seed}");
        let mut run = Run::new(seed, Restarts::Never);
        run.run();
        run.check_tokens();
        run.check_received();
        cuts += run.network.borrow().cuts;
        run.end();
    }
    assert!(cuts > 0);
}

/// A server that forgets its sessions may lose messages for the reader, but each token gets its result.
#[test]
fn all_tokens_get_a_result_if_the_server_forgets_its_sessions() {
    for seed in seeds() {
        println!("seed {seed}");
        let mut run = Run::new(seed, Restarts::Forgetful);
        run.run();
        run.check_tokens();
        run.end();
    }
}

/// A server may restart with a smaller Maximum QoS or Maximum Packet Size, or without retained messages. Only the
/// messages that it does not accept now fail.
#[test]
fn all_tokens_get_a_result_if_the_server_restarts_with_other_limits() {
    let mut failed = 0;
    for seed in seeds() {
        println!("seed {seed}");
        let mut run = Run::new(seed, Restarts::WithOtherLimits);
        run.run();
        run.check_tokens();
        failed += run.shared.failures.counters.statistics().failed;
        run.end();
    }
    assert!(failed > 0);
}
