//! The state of one run, and its main loop. Each step of the loop does one small thing at a random place: an
//! application acts, bytes move on a link, a client connects, or time passes. The other modules implement these steps
//! as methods of [`Simulation`].

use std::time::{Duration, Instant};

use fastrand::Rng;
use mqtt_broker_core::Broker;

use crate::Violation;
use crate::checker::Direction;
use crate::client::SimClient;
use crate::hostile::HostilePeer;
use crate::link::Link;
use crate::oracle::{Guarantees, Key, Oracle};
use crate::plan::Plan;
use crate::queues::Queues;
use crate::sim_store::{SimStore, new_broker};
use crate::states::States;
use crate::wills::Observer;
use crate::wire::hash;

/// The index that the oracle uses for a whole shared subscription. Each message must reach one member of the group, so
/// the group counts as one subscriber.
pub(crate) const GROUP: usize = usize::MAX;

/// The state of a run. Every random decision uses `rng`, and every time is `now`, so that the seed alone decides the
/// run.
pub struct Simulation {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) step: u64,
    pub(crate) broker: Broker,
    pub(crate) clients: Vec<SimClient>,
    /// The connections, in the order in which they were opened. A client may have several: its newest link, and older
    /// links whose end the broker has not noticed yet.
    pub(crate) links: Vec<Link>,
    pub(crate) hostile_peers: Vec<HostilePeer>,
    pub(crate) store: Option<SimStore>,
    pub(crate) oracle: Oracle,
    pub(crate) states: States,
    /// The model of the queues, in runs with a queue limit.
    pub(crate) queues: Option<Queues>,
    pub(crate) observer: Observer,
    pub(crate) trace_hash: u64,
    pub(crate) trace: Option<Vec<String>>,
    /// Set before and after the phase with faults: no faults happen, and no end of a connection is noticed late.
    pub(crate) is_calm: bool,
    /// The number of cuts of links, and of clients that died.
    pub(crate) cuts: u64,
    /// The number of crashes of the broker.
    pub(crate) crashes: u64,
    /// The number of graceful stops of the broker.
    pub(crate) stops: u64,
    /// Set while the broker stops gracefully. Connections that end during this time do not end sessions or publish
    /// wills.
    pub(crate) is_stopping: bool,
    /// The number of connections that the broker has accepted.
    pub(crate) accepted: u64,
}

/// The result of a run without a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The number of finished exchanges of QoS 1 and 2.
    pub handshakes: u64,
    /// The number of these exchanges that were interrupted before they finished, by the loss of their connection.
    pub faulted: u64,
    /// The number of cuts of links, and of clients that died.
    pub cuts: u64,
    /// The number of crashes of the broker.
    pub crashes: u64,
    /// The number of graceful stops of the broker.
    pub stops: u64,
    /// The number of messages that applications have accepted, duplicates included.
    pub deliveries: u64,
    /// The hash of all bytes that clients and broker have sent and read.
    pub trace: u64,
}

impl Simulation {
    /// Creates the simulation of `plan`; `rng` makes all further random decisions.
    pub fn new(plan: Plan, rng: Rng, traced: bool) -> Self {
        let now = Instant::now();
        let (mut broker, store) = new_broker(&plan, now);
        let observer = Observer::new(&mut broker, now, store.is_some());
        let clients = plan.clients.iter().enumerate();
        let clients = clients
            .map(|(index, plan)| SimClient::new(index, plan.clone(), now))
            .collect();
        Self {
            rng,
            now,
            start: now,
            step: 0,
            broker,
            store,
            clients,
            links: Vec::new(),
            hostile_peers: (0..plan.hostile_peers).map(HostilePeer::new).collect(),
            oracle: Oracle::default(),
            states: States::default(),
            queues: plan.queue_limit.map(Queues::new),
            observer,
            trace_hash: 0,
            trace: traced.then(Vec::new),
            is_calm: true,
            cuts: 0,
            crashes: 0,
            stops: 0,
            is_stopping: false,
            accepted: 0,
            plan,
        }
    }

    /// Runs the simulation to its end.
    ///
    /// # Errors
    /// Returns the first broken invariant.
    pub fn run(&mut self) -> Result<Outcome, Violation> {
        // All clients subscribe before the faults begin, so that the oracle can require each message at each subscriber
        // (I1).
        self.settle(|simulation| {
            simulation
                .clients
                .iter()
                .all(|client| client.application.subscribed)
        })?;
        self.is_calm = false;
        for client in &mut self.clients {
            client.to_publish = self.plan.messages;
        }
        for _ in 0..self.plan.steps {
            self.faulty_step()?;
            // After the last exchange has finished, no fault can interrupt anything.
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
            crashes: self.crashes,
            stops: self.stops,
            deliveries: self.oracle.count(),
            trace: self.trace_hash,
        })
    }

    /// Returns the lines of the trace. The trace is empty unless the simulation was created with `traced`.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Runs one step at a random client or link. The step injects no fault.
    pub(crate) fn work(&mut self) -> Result<(), Violation> {
        self.step += 1;
        // The event loop of rbroker runs background work in every turn, so no random choice may delay it here.
        if self.broker.has_background_work() {
            self.background()?;
            self.ended_connections_send()?;
        }
        let index = self.rng.usize(0..self.clients.len());
        if !self.hostile_peers.is_empty() && self.rng.u8(0..8) == 0 {
            let peer = self.rng.usize(0..self.hostile_peers.len());
            let peer = &mut self.hostile_peers[peer];
            peer.step(&mut self.broker, self.now, &mut self.rng)?;
            return self.ended_connections_send();
        }
        // Six of ten steps move bytes, because one exchange needs many of these steps.
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

    /// Returns the delivery guarantees that hold between the publisher of a message and a subscriber, or [`GROUP`].
    pub(crate) fn guarantees(&self, subscriber: usize, key: Key) -> Guarantees {
        let publisher = self.clients.get(key.publisher);
        let publisher_lasts = publisher.is_some_and(|client| client.plan.lasts);
        let mut members = self.clients.iter().filter(|client| client.plan.is_shared);
        let client = match subscriber {
            GROUP => members.next(),
            index => self.clients.get(index),
        };
        let plan = &client.unwrap_or(&self.clients[0]).plan;
        Guarantees {
            publisher_lasts,
            subscriber_lasts: plan.lasts,
            knows_repeats: !plan.may_crash,
            // If a full queue has dropped a message of QoS 1, the message may still be delivered later, when its
            // publisher resends it. The members of a group get the messages of one publisher on different connections.
            keeps_order: subscriber != GROUP && (self.queues.is_none() || key.qos != 1),
            takes_long: plan.maximum_packet_size.is_none(),
            granted: plan.subscribed,
        }
    }

    fn connect(&mut self, index: usize) -> Result<(), Violation> {
        let client = &mut self.clients[index];
        if client.link.is_some() || client.retry_at > self.now {
            return Ok(());
        }
        // The old link, if the broker has not noticed its end yet, stays in `links`: the broker then sees the new
        // CONNECT first. Bytes of the old connection must not reach the new one.
        client
            .core
            .handle_reached(self.now)
            .map_err(|error| Violation::new("I11", error.to_string()))?;
        client.input.clear();
        let id = self.broker.open(self.now, format!("client {index}"), 0);
        client.link = Some(self.links.len());
        client.connections += 1;
        let (number, version) = (client.connections, client.plan.version.level());
        self.links.push(Link::new(index, number, id, version));
        self.note(|| format!("client {index} connects"));
        Ok(())
    }

    /// Returns the number of bytes that arrive together, at most `there`, which is the number of bytes on their way.
    pub(crate) fn piece(&mut self, there: usize) -> usize {
        match there {
            0 => 0,
            _ if self.plan.tiny_pieces && self.rng.u8(0..4) > 0 => self.rng.usize(1..=there.min(7)),
            _ if self.rng.bool() => there,
            _ => self.rng.usize(1..=there),
        }
    }

    /// Removes a link that both ends have closed.
    pub(crate) fn remove_if_over(&mut self, index: usize) {
        if self.links.get(index).is_some_and(Link::is_over) {
            self.links.remove(index);
            // Clients refer to their link by its index, and the indices of all later links have changed.
            for client in &mut self.clients {
                if let Some(link) = client.link.as_mut().filter(|link| **link > index) {
                    *link -= 1;
                }
            }
        }
    }

    /// Adds bytes that were moved to the hash of the run and to the trace. `what` is an index into the texts below.
    pub(crate) fn record(&mut self, what: u8, link: usize, bytes: &[u8]) {
        self.trace_hash = hash(bytes, hash(&[what], self.trace_hash));
        let client = self.links[link].client;
        self.note(|| {
            let who = [
                "",
                "client sends",
                "broker sends",
                "broker reads",
                "client reads",
            ];
            format!("{} (client {client}): {bytes:02x?}", who[usize::from(what)])
        });
    }

    /// Appends a line to the trace. The closure does not run if no trace is wanted, because formatting is slow.
    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = (self.now - self.start).as_secs_f64();
            trace.push(format!("{:6} {time:9.3}  {}", self.step, text()));
        }
    }
}
