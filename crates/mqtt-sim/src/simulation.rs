//! The state of one run: clients, broker, links, virtual time, and one source of chance.

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

/// The number that stands for all members of a shared subscription together.
pub(crate) const GROUP: usize = usize::MAX;

/// The state of a run.
pub struct Simulation {
    pub(crate) rng: Rng,
    pub(crate) plan: Plan,
    pub(crate) now: Instant,
    pub(crate) start: Instant,
    pub(crate) step: u64,
    pub(crate) broker: Broker,
    pub(crate) clients: Vec<SimClient>,
    pub(crate) links: Vec<Link>,
    pub(crate) hostile_peers: Vec<HostilePeer>,
    pub(crate) store: Option<SimStore>,
    pub(crate) oracle: Oracle,
    pub(crate) states: States,
    pub(crate) queues: Option<Queues>,
    pub(crate) observer: Observer,
    pub(crate) trace_hash: u64,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) is_calm: bool,
    pub(crate) cuts: u64,
    /// The number of crashes of the broker.
    pub(crate) crashes: u64,
    /// The number of graceful stops of the broker.
    pub(crate) stops: u64,
    /// Set while the broker stops: the ends of its connections then do not affect sessions and wills.
    pub(crate) is_stopping: bool,
    /// The number of connections that the broker has accepted.
    pub(crate) accepted: u64,
}

/// The result of a run without a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The number of finished exchanges of QoS 1 and 2.
    pub handshakes: u64,
    /// The number of those that a cut, or a stall beyond a timeout, had interrupted.
    pub faulted: u64,
    /// The number of cuts.
    pub cuts: u64,
    /// The number of crashes of the broker.
    pub crashes: u64,
    /// The number of graceful stops of the broker.
    pub stops: u64,
    /// The number of messages that applications have accepted.
    pub deliveries: u64,
    /// The hash of all bytes that were sent and read.
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
        // All clients subscribe before the faults begin.
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

    /// Returns the lines of the trace, if there is one.
    pub fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    /// Runs one step without a fault, at a random place.
    pub(crate) fn work(&mut self) -> Result<(), Violation> {
        self.step += 1;
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
            // A message of QoS 1 that was dropped may be delivered later, when its publisher resends it.
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
        // The broker may still have the old connection, which it then closes late.
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

    /// Returns the number of bytes, of those on their way, that arrive together.
    pub(crate) fn piece(&mut self, there: usize) -> usize {
        match there {
            0 => 0,
            _ if self.plan.tiny_pieces && self.rng.u8(0..4) > 0 => self.rng.usize(1..=there.min(7)),
            _ if self.rng.bool() => there,
            _ => self.rng.usize(1..=there),
        }
    }

    pub(crate) fn remove_if_over(&mut self, index: usize) {
        if self.links.get(index).is_some_and(Link::is_over) {
            self.links.remove(index);
            for client in &mut self.clients {
                if let Some(link) = client.link.as_mut().filter(|link| **link > index) {
                    *link -= 1;
                }
            }
        }
    }

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

    pub(crate) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let time = (self.now - self.start).as_secs_f64();
            trace.push(format!("{:6} {time:9.3}  {}", self.step, text()));
        }
    }
}
