//! Deterministic simulation of the driver: the real driver, queues, tokens and readers, and the real core of the client, on
//! a simulated network with the core of rbroker at its other end. One seed decides the order of all steps and when the
//! connection is cut. No step waits: the driver runs only when a real thread would wake, so that a lost wake-up shows as a
//! run that makes no progress.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Wake;

use mqtt_broker_core::{Broker, ConnectionId, Limits, ListenerPolicy};
use mqtt_codec::{Message, PacketIdentifier, Subscription, SubscriptionOptions, TopicFilter};
use mqtt_session::{Connection, Event, OutboundMessage};

use super::*;
use crate::client::completion::Slot;
use crate::client::inbox::Inbox;
use crate::client::messages::{self, Messages};
use crate::client::outbox::{Outbox, PublishSlot};
use crate::core::ClientCore;
use crate::error::ClientError;
use crate::options::Options;

/// The two ends of the network, and the faults.
struct Network {
    random: fastrand::Rng,
    broker: Broker,
    connection: Option<ConnectionId>,
    to_broker: VecDeque<u8>,
    to_client: VecDeque<u8>,
    /// Set while connections are cut.
    has_faults: bool,
    /// Set if a cut may also restart the broker, which then has forgotten all sessions.
    forgets: bool,
    cuts: usize,
    /// Set if the driver would wait now, and no byte is on its way.
    is_asleep: bool,
}

impl Network {
    fn new(seed: u64, forgets: bool) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            broker: broker(),
            connection: None,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            has_faults: true,
            forgets,
            cuts: 0,
            is_asleep: false,
        }
    }

    /// Passes at least half of the waiting bytes to the broker, and takes its output.
    fn run_broker(&mut self, now: Instant) {
        let Some(id) = self.connection else { return };
        let arrived = self.to_broker.len() - self.random.usize(0..=self.to_broker.len() / 2);
        let bytes: Vec<_> = self.to_broker.iter().take(arrived).copied().collect();
        let mut rest = &bytes[..];
        self.broker.handle_input(now, id, &mut rest);
        let handled = bytes.len() - rest.len();
        self.to_broker.drain(..handled);
        self.broker.run_background(now);
        let output = self.broker.output(id).to_vec();
        self.broker.consume_output(now, id, output.len());
        self.to_client.extend(output);
    }

    fn cut(&mut self, now: Instant) {
        self.cuts += 1;
        self.to_broker.clear();
        self.to_client.clear();
        if let Some(id) = self.connection.take() {
            self.broker.handle_close(now, id);
            self.broker.remove(now, id);
        }
        if self.forgets && self.random.u8(0..3) == 0 {
            self.broker = broker();
        }
    }
}

fn broker() -> Broker {
    let limits = Limits {
        maximum_queued: usize::MAX,
        maximum_in_flight: 20,
        ..Limits::default()
    };
    let mut broker = Broker::new(limits, Box::new(|| 7));
    broker.set_policies(vec![ListenerPolicy::everyone()]);
    broker
}

/// The client's end of the network.
struct SimulatedLink {
    core: ClientCore,
    network: Rc<RefCell<Network>>,
    input: Vec<u8>,
    written: u64,
    is_paused: bool,
    stopped: bool,
}

impl SimulatedLink {
    /// Returns `true` if another turn would make progress.
    fn has_work(&self, network: &Network) -> bool {
        let can_read = !self.is_paused && (self.stopped || !network.to_client.is_empty());
        let can_write = !self.core.output().is_empty() || !network.to_broker.is_empty();
        can_read || can_write || network.connection.is_none() && !self.is_paused
    }
}

impl Link for SimulatedLink {
    fn poll(
        &mut self,
        deadline: Option<Instant>,
        mut handle: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Wakeup, ClientError> {
        let now = Instant::now();
        self.flush();
        let shared = Rc::clone(&self.network);
        let mut network = shared.borrow_mut();
        network.run_broker(now);
        // These events would end the wait of the real event loop. The driver would then run another turn, which begins
        // with the requests of callers.
        let has_events = network.connection.is_none() || !network.to_client.is_empty();
        if network.connection.is_none() && !self.is_paused {
            self.core.begin_attempt(now);
            self.core.handle_reached(now)?;
            self.input.clear();
            self.stopped = false;
            network.connection = Some(network.broker.open(now, "client".into(), 0));
        }
        let is_cut = network.has_faults && network.random.u8(0..40) == 0;
        if !self.is_paused {
            let available = network.to_client.len();
            let count = available - network.random.usize(0..=available / 2);
            if !self.stopped {
                self.input.extend(network.to_client.drain(..count));
            }
            let mut input = &self.input[..];
            let flow = self.core.handle_input(now, &mut input, &mut handle);
            let handled = self.input.len() - input.len();
            self.input.drain(..handled);
            self.stopped = flow?.is_break();
            // The driver reads the rest of a connection before it sees the end.
            if is_cut && !self.stopped {
                network.cut(now);
                self.core.handle_close();
                let result = self.core.handle_input(now, &mut &[][..], &mut handle);
                let error = result.expect_err("the connection has ended");
                let (error, wait) = self.core.handle_lost(now, error, 0)?;
                network.is_asleep = false;
                return Ok(Wakeup::Disconnected(error, wait));
            }
        }
        let waits = deadline.is_none_or(|deadline| deadline > now);
        let handles_events = has_events && !self.is_paused;
        network.is_asleep = waits && !handles_events && !self.has_work(&network);
        Ok(Wakeup::Progress)
    }

    fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, mqtt_session::PublishError> {
        self.core.publish(Instant::now(), outgoing)
    }

    fn flush(&mut self) {
        let mut network = self.network.borrow_mut();
        if network.connection.is_none() {
            return;
        }
        let output = self.core.output();
        let count = output.len() - network.random.usize(0..=output.len() / 2);
        network.to_broker.extend(&output[..count]);
        self.written += count as u64;
        self.core.consume_output(Instant::now(), count);
    }

    fn pause(&mut self) {
        self.is_paused = true;
    }

    fn resume(&mut self) {
        self.is_paused = false;
    }

    fn disconnect(&mut self, disconnect: Disconnect, _: Duration) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), disconnect);
        Ok(())
    }

    fn take_rejected(&mut self) -> Vec<Arc<Message>> {
        self.core.take_rejected()
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        self.core.connection()
    }

    fn backlog(&self) -> Vec<OutboundMessage> {
        self.core.backlog().cloned().collect()
    }

    fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn has_hung_up(&self) -> bool {
        false
    }

    fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    fn unfinished(&self) -> usize {
        self.core.unfinished()
    }

    fn unwritten(&self) -> usize {
        self.core.output().len()
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn end_of_output(&self) -> u64 {
        self.written + self.core.output().len() as u64
    }

    fn server(&self) -> String {
        "server".into()
    }
}

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
    fn new(seed: u64, forgets: bool) -> Self {
        let mut options = Options::new("server", 1883);
        options.connect.client_identifier = "client".into();
        options.connect.clean_start = false;
        options.connect.keep_alive = 0;
        options.connect.properties.session_expiry_interval = Some(u32::MAX);
        options.limits.maximum_in_flight = 10;
        options.limits.receive_maximum = 8;
        let woken = Arc::new(Woken::default());
        let outbox = Outbox::new(Arc::clone(&woken).into(), 5, usize::MAX);
        let shared = Arc::new(Shared::new(outbox, Inbox::new(8, usize::MAX)));
        let network = Rc::new(RefCell::new(Network::new(seed, forgets)));
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
        self.driver.turn().expect("the client does not end");
        true
    }

    fn publish(&mut self, publisher: usize) -> bool {
        let number = self.next[publisher];
        if number == MESSAGES {
            return false;
        }
        let name = format!("{publisher}-{number}");
        let qos = QoS::from_value(self.random.u8(0..3)).expect("0 to 2");
        let message = Message::new(TopicName::new("t").expect("valid"), name.clone());
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
        let mut lost = 0;
        for (name, (qos, slot)) in &self.tokens {
            match slot.result() {
                None => panic!("the token of {name} has no result"),
                Some(Ok(())) => {}
                Some(Err(PublishError::Lost { .. })) if *qos == QoS::AtMostOnce => lost += 1,
                Some(Err(error)) => panic!("{name}: {error}"),
            }
        }
        let statistics = self.shared.failures.counters.statistics();
        assert_eq!(statistics.lost, lost);
        assert_eq!(statistics.delivered + lost, self.tokens.len() as u64);
        assert_eq!((statistics.failed, statistics.discarded), (0, 0));
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
            if let Err(ending) = self.driver.turn() {
                break ending;
            }
        };
        assert_eq!(ending.unfinished, 0);
        assert!(matches!(ending.reason, ConnectError::Closed));
        self.driver.end(ending);
        assert!(self.messages.receive(Duration::ZERO).is_err());
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
        let mut run = Run::new(seed, false);
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
        let mut run = Run::new(seed, true);
        run.run();
        run.check_tokens();
        run.end();
    }
}
