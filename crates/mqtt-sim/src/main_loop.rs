//! The main loop of a run. Each step of the loop does one small thing at a random place: an application acts, bytes move
//! on a link, a client connects, or time passes.

use std::time::Duration;

use crate::Violation;
use crate::broker_side::{broker_sends, ended_connections_send};
use crate::calm::{check_end, is_quiet, settle};
use crate::checker::Direction;
use crate::client::SimClient;
use crate::client_side::{client_reads, client_sends};
use crate::faults::{check_failures, faulty_step, pass_time};
use crate::host::BrokerHost;
use crate::link::Link;
use crate::network::Network;
use crate::publishing;
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use crate::turns::{broker_reads, run_background};

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
    /// Runs the simulation to its end.
    ///
    /// # Errors
    /// Returns the first broken invariant.
    pub fn run(&mut self) -> Result<Outcome, Violation> {
        // All clients subscribe before the faults begin, so that the oracle can require each message at each subscriber
        // (I1).
        settle(self, |simulation| {
            let mut clients = simulation.clients.iter();
            clients.all(|client| client.application.subscribed)
        })?;
        self.scenario.is_calm = false;
        for client in &mut self.clients {
            client.to_publish = self.scenario.plan.messages;
        }
        for _ in 0..self.scenario.plan.steps {
            faulty_step(self)?;
            // After the last exchange has finished, no fault can interrupt anything.
            if is_quiet(self) {
                break;
            }
        }
        self.scenario.is_calm = true;
        settle(self, is_quiet)?;
        check_end(self)?;
        let ends = self
            .clients
            .iter()
            .flat_map(|client| [&client.up, &client.down]);
        let sum = |count: fn(&Direction) -> u64| ends.clone().map(count).sum();
        Ok(Outcome {
            handshakes: sum(|direction| direction.finished),
            faulted: sum(|direction| direction.faulted),
            cuts: self.network.cuts,
            crashes: self.host.crashes,
            stops: self.host.stops,
            deliveries: self.models.oracle.count(),
            trace: self.scenario.hash,
        })
    }

    /// Runs one step at a random client or link. The step injects no fault.
    pub(crate) fn work(&mut self) -> Result<(), Violation> {
        self.scenario.step += 1;
        // The event loop of rbroker runs background work in every turn, so no random choice may delay it here.
        if self.host.broker.has_background_work() {
            run_background(self)?;
            ended_connections_send(self)?;
        }
        let Self {
            scenario,
            host,
            network,
            clients,
            hostile_peers,
            models,
        } = self;
        let index = scenario.rng.usize(0..clients.len());
        if !hostile_peers.is_empty() && scenario.rng.u8(0..8) == 0 {
            let peer = scenario.rng.usize(0..hostile_peers.len());
            hostile_peers[peer].step(&mut host.broker, scenario.now, &mut scenario.rng)?;
            return ended_connections_send(self);
        }
        // Six of ten steps move bytes, because one exchange needs many of these steps.
        match scenario.rng.u8(0..10) {
            0..=1 => publishing::step(scenario, clients, models, index),
            2 => {
                let milliseconds = scenario.rng.u64(0..20);
                pass_time(self, Duration::from_millis(milliseconds));
                check_failures(&mut self.clients)
            }
            3 => connect(scenario, host, network, &mut clients[index]),
            _ if network.links.is_empty() => Ok(()),
            _ => {
                let link = scenario.rng.usize(0..network.links.len());
                self.move_bytes(link)
            }
        }
    }

    /// Moves bytes at one of the four places of a link.
    fn move_bytes(&mut self, link: usize) -> Result<(), Violation> {
        let Self {
            scenario,
            network,
            clients,
            models,
            ..
        } = self;
        match scenario.rng.u8(0..6) {
            0 => client_sends(scenario, network, clients, link)?,
            1 => broker_sends(self, link)?,
            2 | 3 => broker_reads(self, link)?,
            _ => client_reads(scenario, network, clients, models, link)?,
        }
        self.network.remove_if_over(&mut self.clients, link);
        Ok(())
    }
}

/// Opens a link for a client that has none.
fn connect(
    scenario: &mut Scenario,
    host: &mut BrokerHost,
    network: &mut Network,
    client: &mut SimClient,
) -> Result<(), Violation> {
    let (index, now) = (client.index, scenario.now);
    if client.link.is_some() || client.retry_at > now {
        return Ok(());
    }
    // The old link, if the broker has not noticed its end yet, stays in `links`: the broker then sees the new CONNECT
    // first. Bytes of the old connection must not reach the new one.
    client
        .core
        .handle_reached(now)
        .map_err(|error| Violation::new("I11", error.to_string()))?;
    client.input.clear();
    let id = host.broker.open(now, format!("client {index}"), 0);
    client.link = Some(network.links.len());
    client.connections += 1;
    let (number, version) = (client.connections, client.plan.version.level());
    network.links.push(Link::new(index, number, id, version));
    scenario.note(|| format!("client {index} connects"));
    Ok(())
}
