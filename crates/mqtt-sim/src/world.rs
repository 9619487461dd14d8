//! The world of one run: clients, broker, links, virtual time, and one source of chance.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mqtt_broker::{Broker, Limits};
use mqtt_client::{ClientCore, ClientError, Message, Options, QoS, Reconnect};
use mqtt_codec::{
    Connect, PacketIdentifier, ProtocolVersion, ReasonCode, SubscribeProperties, Subscription,
    SubscriptionOptions, TopicFilter, TopicName, Will,
};
use mqtt_session::{CloseReason, Connection, Event, Outgoing, PublishError, Session};

use crate::Violation;
use crate::checker::Direction;
use crate::ledger::{Key, Ledger, Promise};
use crate::link::Link;
use crate::plan::{ClientPlan, Plan};
use crate::wire::hash;

/// The calm phase has to be over after so many steps (I13).
const CALM_STEPS: u64 = 200_000;

/// What a link holds in each direction; the ends wait when it is full.
const LINK_CAPACITY: usize = 4096;

/// One run.
pub struct World {
    rng: Rng,
    plan: Plan,
    now: Instant,
    start: Instant,
    step: u64,
    broker: Broker,
    clients: Vec<SimClient>,
    links: Vec<Link>,
    ledger: Ledger,
    wills: BTreeMap<usize, u64>,
    trace_hash: u64,
    trace: Option<Vec<String>>,
    is_calm: bool,
    cuts: u64,
    /// How many connections the broker has accepted.
    accepted: u64,
}

struct SimClient {
    plan: ClientPlan,
    core: ClientCore,
    link: Option<usize>,
    retry_at: Instant,
    input: Vec<u8>,
    published: [u64; 3],
    to_publish: u64,
    subscribed: bool,
    /// What the broker should know of the session.
    model: SessionModel,
    /// What the client sends, and what the broker sends to it.
    up: Direction,
    down: Direction,
    /// Wills that were to be published up to now, and when the next one is.
    wills_due: u64,
    will_due: Option<Instant>,
    failure: Option<Violation>,
}

/// Whether the broker has a session of this client, and until when.
#[derive(Debug, Clone, Copy, Default)]
struct SessionModel {
    exists: bool,
    ends: Option<Instant>,
}

/// What a run without a violation has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Exchanges of QoS 1 and 2 that came to their end.
    pub handshakes: u64,
    /// Those of them that a cut or a stall past a timeout had met.
    pub faulted: u64,
    /// Cuts.
    pub cuts: u64,
    /// Messages that applications got.
    pub deliveries: u64,
    /// A hash of everything that happened.
    pub trace: u64,
}

impl World {
    /// A world as the plan says, with the rest of the chance.
    pub fn new(plan: Plan, rng: Rng, traced: bool) -> Self {
        let now = Instant::now();
        let limits = Limits {
            maximum_in_flight: plan.broker_window,
            receive_maximum: plan.broker_receive_maximum,
            maximum_queued: usize::MAX,
            ..Limits::default()
        };
        let mut identifiers = 0;
        let random = move || {
            identifiers += 1;
            identifiers
        };
        let clients = plan.clients.iter().enumerate();
        let clients = clients
            .map(|(index, plan)| SimClient::new(index, plan.clone(), now))
            .collect();
        Self {
            rng,
            now,
            start: now,
            step: 0,
            broker: Broker::new(limits, Box::new(random)),
            clients,
            links: Vec::new(),
            ledger: Ledger::default(),
            wills: BTreeMap::new(),
            trace_hash: 0,
            trace: traced.then(Vec::new),
            is_calm: true,
            cuts: 0,
            accepted: 0,
            plan,
        }
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// The first invariant that is broken.
    pub fn run(&mut self) -> Result<Outcome, Violation> {
        // Everyone subscribes before the storm.
        self.settle(|world| world.clients.iter().all(|client| client.subscribed))?;
        self.is_calm = false;
        for client in &mut self.clients {
            client.to_publish = self.plan.messages;
        }
        for _ in 0..self.plan.steps {
            self.storm_step()?;
            if self.is_quiet() {
                break;
            }
        }
        self.is_calm = true;
        self.settle(Self::is_quiet)?;
        self.check_end()?;
        let ends = self
            .clients
            .iter()
            .flat_map(|client| [&client.up, &client.down]);
        let sum = |count: fn(&Direction) -> u64| ends.clone().map(count).sum();
        Ok(Outcome {
            handshakes: sum(|direction| direction.finished),
            faulted: sum(|direction| direction.faulted),
            cuts: self.cuts,
            deliveries: self.ledger.count(),
            trace: self.trace_hash,
        })
    }

    /// The lines of the trace, if there is one.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn storm_step(&mut self) -> Result<(), Violation> {
        if self.rng.u32(0..10_000) < self.plan.cuts {
            self.cut();
        }
        if self.rng.u32(0..10_000) < self.plan.stalls {
            self.stall();
        }
        self.work()
    }

    /// One thing that happens without a fault, at a random place.
    fn work(&mut self) -> Result<(), Violation> {
        self.step += 1;
        let index = self.rng.usize(0..self.clients.len());
        match self.rng.u8(0..10) {
            0..=1 => self.application(index),
            2 => {
                let milliseconds = self.rng.u64(0..20);
                self.pass_time(Duration::from_millis(milliseconds));
                self.check_failures()
            }
            3 => self.connect(index),
            _ if self.links.is_empty() => Ok(()),
            _ => {
                let link = self.rng.usize(0..self.links.len());
                match self.rng.u8(0..6) {
                    0 => self.client_sends(link)?,
                    1 => self.broker_sends(link)?,
                    2 | 3 => self.broker_reads(link)?,
                    _ => self.client_reads(link)?,
                }
                self.remove_if_over(link);
                Ok(())
            }
        }
    }

    /// Works without faults until the condition holds (I13).
    fn settle(&mut self, is_done: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        for count in 0..CALM_STEPS {
            if is_done(self) {
                return Ok(());
            }
            self.work()?;
            // Nothing moves: what is waited for is a deadline.
            if count % 256 == 255 {
                let before = self.trace_hash;
                for index in 0..self.links.len().min(64) {
                    let index = index.min(self.links.len().saturating_sub(1));
                    if !self.links.is_empty() {
                        self.client_sends(index)?;
                        self.broker_sends(index)?;
                        self.broker_reads(index)?;
                        if index < self.links.len() {
                            self.client_reads(index)?;
                            self.remove_if_over(index);
                        }
                    }
                }
                if before == self.trace_hash {
                    self.pass_to_next_deadline();
                }
            }
        }
        let states: Vec<_> = self.clients.iter().map(SimClient::state).collect();
        Err(Violation::new(
            "I13",
            format!("not finished after {CALM_STEPS} steps: {states:?}"),
        ))
    }

    fn is_quiet(&self) -> bool {
        self.clients.iter().all(|client| {
            client.to_publish == 0
                && client.core.is_connected()
                && client.core.unfinished() == 0
                && client.core.output().is_empty()
                && client.up.open() == 0
                && client.down.open() == 0
        }) && self.links.iter().all(|link| {
            link.up.is_empty()
                && link.down.is_empty()
                && link.client_is_open
                && link
                    .connection
                    .is_some_and(|id| self.broker.output(id).is_empty())
        })
    }

    fn check_end(&self) -> Result<(), Violation> {
        let lasting = (0..self.clients.len()).filter(|index| self.clients[*index].plan.lasts);
        self.ledger
            .check_complete(lasting, |subscriber, key| self.promise(subscriber, key))?;
        for (index, count) in &self.wills {
            let due = self.clients[*index].wills_due_at(self.now);
            if *count > due {
                let what = format!("{count} wills of {index}, where {due} were due");
                return Err(Violation::new("I12", what));
            }
        }
        Ok(())
    }

    fn promise(&self, subscriber: usize, key: Key) -> Promise {
        Promise {
            publisher_lasts: self.clients[key.publisher].plan.lasts,
            subscriber_lasts: self.clients[subscriber].plan.lasts,
            granted: self.clients[subscriber].plan.subscribed,
        }
    }

    /// The application publishes.
    fn application(&mut self, index: usize) -> Result<(), Violation> {
        let client = &mut self.clients[index];
        if client.to_publish == 0 || !client.core.is_connected() || !client.subscribed {
            return Ok(());
        }
        let qos = self.rng.u8(0..3);
        let key = Key {
            publisher: index,
            qos,
            number: client.published[usize::from(qos)],
        };
        let topic_name = TopicName::new(&format!("t/{index}")).expect("valid");
        let message = Message::new(topic_name, key.payload(self.rng.usize(0..30)));
        let qos = QoS::from_value(qos).expect("below 3");
        match client
            .core
            .publish(self.now, Outgoing::new(Arc::new(message), qos))
        {
            Ok(_) => {
                client.published[usize::from(key.qos)] += 1;
                client.to_publish -= 1;
                self.ledger.accepted(key);
                self.note(|| format!("client {index} publishes {key:?}"));
                Ok(())
            }
            Err(PublishError::QuotaUsedUp | PublishError::NotConnected) => Ok(()),
            Err(error) => Err(Violation::new(
                "I13",
                format!("client {index} cannot publish: {error}"),
            )),
        }
    }

    fn connect(&mut self, index: usize) -> Result<(), Violation> {
        let client = &mut self.clients[index];
        if client.link.is_some() || client.retry_at > self.now {
            return Ok(());
        }
        // A late close: the broker may still have the old connection.
        client
            .core
            .handle_reached(self.now)
            .map_err(|error| Violation::new("I11", error.to_string()))?;
        client.input.clear();
        let id = self.broker.open(self.now, format!("client {index}"), true);
        client.link = Some(self.links.len());
        let version = client.plan.version.level();
        self.links.push(Link::new(index, id, version));
        self.note(|| format!("client {index} connects"));
        Ok(())
    }

    /// Moves output of the client into its link.
    fn client_sends(&mut self, index: usize) -> Result<(), Violation> {
        let link = &mut self.links[index];
        if !link.client_is_open || link.is_cut {
            return Ok(());
        }
        let client = &mut self.clients[link.client];
        let room = LINK_CAPACITY.saturating_sub(link.up.len());
        let output = client.core.output();
        let count = output.len().min(room);
        if count == 0 {
            return Ok(());
        }
        let bytes = output[..count].to_vec();
        client.core.consume_output(self.now, count);
        link.up.extend(&bytes);
        let goodbye = &mut link.client_said_goodbye;
        let up = &mut client.up;
        link.client_sent.read(&bytes, |packet| {
            if *goodbye {
                return Err(Violation::new(
                    "I11",
                    format!("a packet behind DISCONNECT: {packet:?}"),
                ));
            }
            *goodbye = packet.kind == 14;
            up.sends(&packet)
        })?;
        self.record(1, &bytes);
        Ok(())
    }

    /// Moves output of the broker into the link.
    fn broker_sends(&mut self, index: usize) -> Result<(), Violation> {
        let Some(id) = self.links[index].connection else {
            return Ok(());
        };
        let has_ended = self.broker.has_ended(id);
        let link = &mut self.links[index];
        let room = if link.is_cut {
            usize::MAX
        } else {
            LINK_CAPACITY.saturating_sub(link.down.len())
        };
        let output = self.broker.output(id);
        let bytes = output[..output.len().min(room)].to_vec();
        self.broker.consume_output(self.now, id, bytes.len());
        if !link.is_cut {
            link.down.extend(&bytes);
        }
        self.check_broker_bytes(index, &bytes)?;
        if has_ended && self.broker.output(id).is_empty() {
            self.broker_end_is_gone(index);
        }
        if !bytes.is_empty() {
            self.record(2, &bytes);
        }
        Ok(())
    }

    fn check_broker_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<(), Violation> {
        let link = &mut self.links[index];
        let now = link.answered_at.unwrap_or(self.now);
        let client = &mut self.clients[link.client];
        let (connack_seen, goodbye) = (&mut link.connack_seen, &mut link.broker_said_goodbye);
        let broker_window = self.plan.broker_window;
        link.broker_sent.read(bytes, |packet| {
            if *goodbye || (packet.kind == 2) == *connack_seen {
                return Err(Violation::new("I11", format!("out of place: {packet:?}")));
            }
            match packet.kind {
                2 => {
                    *connack_seen = true;
                    client.check_connack(
                        packet.session_present,
                        packet.reason,
                        broker_window,
                        now,
                    )?;
                }
                14 => {
                    *goodbye = true;
                    // Taken over, or silent for too long; anything else blames an honest client.
                    if ![0x8D, 0x8E].contains(&packet.reason) {
                        let what = format!("the broker blames a client: {packet:?}");
                        return Err(Violation::new("I11", what));
                    }
                }
                _ => {}
            }
            client.down.sends(&packet)
        })
    }

    /// Some bytes reach the broker, or the end of the stream does.
    fn broker_reads(&mut self, index: usize) -> Result<(), Violation> {
        let count = self.piece(self.links[index].up.len());
        let link = &mut self.links[index];
        let Some(id) = link.connection else {
            link.up.clear();
            return Ok(());
        };
        if link.stalled_until > self.step {
            return Ok(());
        }
        if count == 0 {
            let closed = !link.client_is_open || link.is_cut;
            let late = !self.is_calm && self.plan.late_closes && self.rng.u8(0..8) > 0;
            if closed && link.up.is_empty() && !late {
                self.note(|| format!("broker notices the end of link {index}"));
                // What it gave to the socket counts as sent: it cannot know better.
                self.links[index].is_cut = true;
                self.broker_sends(index)?;
                self.broker.handle_close(self.now, id);
                self.broker_end_is_gone(index);
            }
            return Ok(());
        }
        let bytes: Vec<u8> = link.up.drain(..count).collect();
        let down = &mut self.clients[link.client].down;
        link.broker_got.read(&bytes, |packet| {
            down.answered(&packet);
            Ok(())
        })?;
        link.broker_input.extend(&bytes);
        let input = std::mem::take(&mut link.broker_input);
        let mut rest = &input[..];
        self.broker.handle_input(self.now, id, &mut rest);
        let link = &mut self.links[index];
        link.broker_input = rest.to_vec();
        if link.answered_at.is_none() && !self.broker.output(id).is_empty() {
            link.answered_at = Some(self.now);
            self.accepted += 1;
            link.accepted = self.accepted;
        }
        self.record(3, &bytes);
        self.ended_connections_send()
    }

    /// Some bytes reach the client, or the end of the stream does.
    fn client_reads(&mut self, index: usize) -> Result<(), Violation> {
        let count = self.piece(self.links[index].down.len());
        let link = &mut self.links[index];
        if !link.client_is_open || link.stalled_until > self.step {
            return Ok(());
        }
        let client_index = link.client;
        if count == 0 {
            let closed = link.connection.is_none() || link.is_cut;
            if closed && link.down.is_empty() {
                self.clients[client_index].core.handle_close();
                self.note(|| format!("client {client_index} notices the end of link {index}"));
                self.client_handles(client_index)?;
            }
            return Ok(());
        }
        let bytes: Vec<u8> = link.down.drain(..count).collect();
        let broker_receive_maximum = self.plan.broker_receive_maximum;
        let client = &mut self.clients[client_index];
        link.client_got.read(&bytes, |packet| {
            if packet.kind == 2 {
                client.sees_connack(packet.session_present, broker_receive_maximum);
            }
            client.up.answered(&packet);
            Ok(())
        })?;
        client.input.extend(&bytes);
        self.record(4, &bytes);
        self.client_handles(client_index)
    }

    fn client_handles(&mut self, index: usize) -> Result<(), Violation> {
        let now = self.now;
        let mut got = Vec::new();
        let client = &mut self.clients[index];
        let buffer = std::mem::take(&mut client.input);
        let mut input = &buffer[..];
        let (subscribed, plan) = (&mut client.subscribed, &client.plan);
        let result = client
            .core
            .handle_input(now, &mut input, &mut |connection, event| {
                handle_event(now, plan, subscribed, &mut got, connection, &event);
                ControlFlow::Continue(())
            });
        client.input = input.to_vec();
        for (topic_name, payload, qos) in got {
            self.deliver(index, &topic_name, &payload, qos)?;
        }
        match result {
            Ok(_) => Ok(()),
            Err(error) => self.client_lost(index, error),
        }
    }

    fn deliver(
        &mut self,
        index: usize,
        topic_name: &str,
        payload: &[u8],
        qos: u8,
    ) -> Result<(), Violation> {
        if let Some(publisher) = topic_name.strip_prefix("w/") {
            let publisher = publisher
                .parse()
                .map_err(|_| Violation::new("I3", topic_name))?;
            // Each subscriber gets a will; one of them counts.
            if index == 0 {
                *self.wills.entry(publisher).or_default() += 1;
            }
            return Ok(());
        }
        let promises: Vec<_> = self
            .clients
            .iter()
            .map(|client| client.plan.lasts)
            .collect();
        let plan = &self.clients[index].plan;
        let (subscriber_lasts, granted) = (plan.lasts, plan.subscribed);
        self.ledger
            .delivered(index, topic_name, payload, qos, |key| Promise {
                publisher_lasts: promises.get(key.publisher).copied().unwrap_or(false),
                subscriber_lasts,
                granted,
            })
    }

    fn client_lost(&mut self, index: usize, error: ClientError) -> Result<(), Violation> {
        let passing = matches!(
            &error,
            ClientError::Closed(
                CloseReason::ConnectionLost
                    | CloseReason::HandshakeTimeout
                    | CloseReason::KeepAliveTimeout
                    | CloseReason::Disconnected(_)
            )
        );
        if !passing {
            return Err(Violation::new(
                "I11",
                format!("client {index} blames the broker: {error}"),
            ));
        }
        let random = self.rng.u32(..);
        let client = &mut self.clients[index];
        if let Some(link) = client.link.take() {
            let link = &mut self.links[link];
            link.client_is_open = false;
            // What it gave to the socket counts as sent: it cannot know better.
            let up = &mut client.up;
            link.client_sent
                .read(client.core.output(), |packet| up.sends(&packet))?;
        }
        client.up.fault();
        client.down.fault();
        let (_, wait) = client
            .core
            .handle_lost(self.now, error, random)
            .map_err(|error| Violation::new("I13", format!("client {index} gives up: {error}")))?;
        client.retry_at = self.now + wait;
        Ok(())
    }

    /// The broker has no connection at this end any more.
    fn broker_end_is_gone(&mut self, index: usize) {
        let link = &mut self.links[index];
        let Some(id) = link.connection.take() else {
            return;
        };
        link.broker_input.clear();
        self.broker.remove(self.now, id);
        self.connection_has_ended(index);
    }

    /// The model follows the broker: a connection that it had accepted is over.
    fn connection_has_ended(&mut self, index: usize) {
        let link = &mut self.links[index];
        if !link.connack_seen || std::mem::replace(&mut link.end_is_counted, true) {
            return;
        }
        let client = link.client;
        // A newer connection of the client has the session now, and its own end.
        let accepted = link.accepted;
        let is_newest = self.links.iter().all(|other| {
            other.client != client || !other.connack_seen || other.accepted <= accepted
        });
        self.clients[client].connection_ends(self.now, is_newest);
    }

    /// Connections that the broker has ended, perhaps because of another one: their last bytes are
    /// on their way before anything that follows from it.
    fn ended_connections_send(&mut self) -> Result<(), Violation> {
        while self.broker.poll_changed().is_some() {}
        for index in 0..self.links.len() {
            let connection = self.links[index].connection;
            if connection.is_some_and(|id| self.broker.has_ended(id)) {
                self.broker_sends(index)?;
                // Its bytes may wait for room in the link; what it means for the session does not.
                self.connection_has_ended(index);
            }
        }
        Ok(())
    }

    fn cut(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.links.len());
        let (keep_up, keep_down) = (
            self.rng.usize(0..=self.links[index].up.len()),
            self.rng.usize(0..=self.links[index].down.len()),
        );
        let link = &mut self.links[index];
        if link.is_cut {
            return;
        }
        link.is_cut = true;
        link.up.truncate(keep_up);
        link.down.truncate(keep_down);
        let client = &mut self.clients[link.client];
        client.up.fault();
        client.down.fault();
        self.cuts += 1;
        self.note(|| format!("link {index} is cut, {keep_up} and {keep_down} bytes arrive"));
    }

    /// Nothing moves on a link while much time passes.
    fn stall(&mut self) {
        if self.links.is_empty() {
            return;
        }
        let index = self.rng.usize(0..self.links.len());
        self.links[index].stalled_until = self.step + 200;
        let time = Duration::from_secs(self.rng.u64(1..30));
        self.note(|| format!("link {index} stalls, {time:?} pass"));
        self.pass_time(time);
    }

    /// How many of the bytes that are there arrive together.
    fn piece(&mut self, there: usize) -> usize {
        match there {
            0 => 0,
            _ if self.plan.tiny_pieces && self.rng.u8(0..4) > 0 => self.rng.usize(1..=there.min(7)),
            _ if self.rng.bool() => there,
            _ => self.rng.usize(1..=there),
        }
    }

    fn pass_time(&mut self, time: Duration) {
        self.now += time;
        self.fire_timers();
    }

    fn pass_to_next_deadline(&mut self) {
        let own = self.clients.iter().map(|client| match client.link {
            Some(_) => client.core.poll_timeout(),
            None => Some(client.retry_at),
        });
        let next = own.chain([self.broker.poll_timeout()]).flatten().min();
        if let Some(next) = next {
            self.now = self.now.max(next);
            self.fire_timers();
        }
    }

    fn fire_timers(&mut self) {
        let now = self.now;
        self.broker.handle_timeout(now);
        for index in 0..self.clients.len() {
            if self.clients[index].link.is_some() {
                self.clients[index].core.handle_timeout(now);
                if let Err(violation) = self.client_handles(index) {
                    self.clients[index].failure.get_or_insert(violation);
                }
            }
        }
        if let Err(violation) = self.ended_connections_send() {
            self.clients[0].failure.get_or_insert(violation);
        }
    }

    /// What broke while timers fired.
    fn check_failures(&mut self) -> Result<(), Violation> {
        self.clients
            .iter_mut()
            .find_map(|client| client.failure.take())
            .map_or(Ok(()), Err)
    }

    fn remove_if_over(&mut self, index: usize) {
        if self.links.get(index).is_some_and(Link::is_over) {
            self.links.remove(index);
            for client in &mut self.clients {
                if let Some(link) = client.link.as_mut().filter(|link| **link > index) {
                    *link -= 1;
                }
            }
        }
    }

    fn record(&mut self, what: u8, bytes: &[u8]) {
        self.trace_hash = hash(bytes, hash(&[what], self.trace_hash));
        self.note(|| {
            let who = [
                "",
                "client sends",
                "broker sends",
                "broker reads",
                "client reads",
            ];
            format!("{}: {bytes:02x?}", who[usize::from(what)])
        });
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = (self.now - self.start).as_secs_f64();
            trace.push(format!("{:6} {time:9.3}  {}", self.step, text()));
        }
    }
}

impl SimClient {
    fn new(index: usize, plan: ClientPlan, now: Instant) -> Self {
        let mut options = Options::new("broker", 1883);
        options.reconnect = Reconnect::Always;
        options.limits.maximum_in_flight = plan.window;
        options.limits.receive_maximum = plan.receive_maximum;
        options.limits.first_identifier = PacketIdentifier::FIRST; // chance has one source
        let mut connect = Connect::new(plan.version, format!("client{index}"));
        connect.clean_start = plan.clean_start;
        connect.keep_alive = plan.keep_alive;
        if plan.version == ProtocolVersion::V5_0 {
            let expiry = if plan.lasts { u32::MAX } else { plan.expiry };
            connect.properties.session_expiry_interval = Some(expiry);
        }
        connect.will = plan.will_delay.map(|delay| {
            let topic_name = TopicName::new(&format!("w/{index}")).expect("valid");
            let will_delay_interval = (plan.version == ProtocolVersion::V5_0).then_some(delay);
            Will {
                will_delay_interval,
                ..Will::new(Message::new(topic_name, "will"), QoS::AtMostOnce)
            }
        });
        options.connect = connect;
        let session = plan.lasts.then(Session::default);
        Self {
            core: ClientCore::new(options, session),
            plan,
            link: None,
            retry_at: now,
            input: Vec::new(),
            published: [0; 3],
            to_publish: 0,
            subscribed: false,
            model: SessionModel::default(),
            up: Direction::default(),
            down: Direction::default(),
            wills_due: 0,
            will_due: None,
            failure: None,
        }
    }

    /// A CONNACK of the broker's: is Session Present what it should be (I12)?
    fn check_connack(
        &mut self,
        session_present: bool,
        reason: u8,
        broker_window: u16,
        now: Instant,
    ) -> Result<(), Violation> {
        if reason != 0 {
            return Err(Violation::new("I12", format!("refused with {reason}")));
        }
        let lives = self.model.exists && self.model.ends.is_none_or(|ends| now < ends);
        let expected = lives && !self.plan.clean_start;
        let due = |due: Instant| due <= now || self.plan.clean_start;
        self.wills_due += u64::from(self.will_due.take().is_some_and(due));
        if self.plan.version != ProtocolVersion::V3_1 && session_present != expected {
            let what = format!("Session Present is {session_present}, not {expected}");
            return Err(Violation::new("I12", what));
        }
        self.model = SessionModel {
            exists: true,
            ends: None,
        };
        let v5 = self.plan.version == ProtocolVersion::V5_0;
        let window = if v5 {
            broker_window.min(self.plan.receive_maximum)
        } else {
            broker_window
        };
        self.down.begin(expected, window);
        Ok(())
    }

    /// The CONNACK has reached the client, which begins what it sends anew, or goes on.
    fn sees_connack(&mut self, session_present: bool, broker_receive_maximum: u16) {
        let goes_on = match self.plan.version {
            ProtocolVersion::V3_1 => !self.plan.clean_start, // there it is not told
            _ => session_present,
        };
        let window = match self.plan.version {
            ProtocolVersion::V5_0 => self.plan.window.min(broker_receive_maximum),
            _ => self.plan.window,
        };
        self.up.begin(goes_on, window);
    }

    /// The broker has seen the end of a connection that it had accepted.
    fn connection_ends(&mut self, now: Instant, is_newest: bool) {
        let expiry = match self.plan.version {
            ProtocolVersion::V5_0 if !self.plan.lasts => Some(self.plan.expiry),
            ProtocolVersion::V5_0 => None,
            _ if self.plan.lasts => None,
            _ => Some(0),
        };
        if is_newest {
            self.model.ends = expiry.map(|seconds| now + Duration::from_secs(seconds.into()));
        }
        let Some(delay) = self.plan.will_delay else {
            return;
        };
        // The will waits for its delay or the end of the session, whichever is first.
        let delay = match self.plan.version {
            ProtocolVersion::V5_0 => delay.min(expiry.unwrap_or(u32::MAX)),
            _ => 0,
        };
        // A clean start ends the session at once.
        if delay == 0 || !is_newest && self.plan.clean_start {
            self.wills_due += 1;
        } else if is_newest {
            self.will_due = Some(now + Duration::from_secs(delay.into()));
        }
    }

    fn wills_due_at(&self, now: Instant) -> u64 {
        self.wills_due + u64::from(self.will_due.is_some_and(|due| due <= now))
    }

    fn state(&self) -> String {
        format!(
            "connected {} unfinished {} to publish {} open {} and {}",
            self.core.is_connected(),
            self.core.unfinished(),
            self.to_publish,
            self.up.open(),
            self.down.open()
        )
    }
}

/// What the application of a client does: it subscribes, and takes messages over.
fn handle_event(
    now: Instant,
    plan: &ClientPlan,
    subscribed: &mut bool,
    got: &mut Vec<(String, Vec<u8>, u8)>,
    connection: &mut Connection,
    event: &Event<'_>,
) {
    match event {
        Event::Connected { .. } => {
            let qos = QoS::from_value(plan.subscribed).expect("below 3");
            let subscription = |filter| Subscription {
                topic_filter: TopicFilter::new(filter).expect("valid"),
                options: SubscriptionOptions::new(qos),
            };
            let subscriptions = vec![subscription("t/+"), subscription("w/#")];
            // Cannot fail but for the connection, and then it is made again.
            let _ = connection.subscribe(now, subscriptions, SubscribeProperties::default());
        }
        Event::Subscribed(_) => *subscribed = true,
        Event::Message(publish) => {
            let qos = publish.delivery.qos() as u8;
            got.push((publish.topic_name.to_owned(), publish.payload.to_vec(), qos));
            if let Some(packet_identifier) = publish.delivery.packet_identifier() {
                connection.acknowledge(now, packet_identifier, ReasonCode::Success);
            }
        }
        _ => {}
    }
}
