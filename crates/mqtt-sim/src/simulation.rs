//! The state of one run. The state consists of several structs, such as [`Scenario`] and [`Network`]. A function in
//! another module takes only the structs that it needs. A function that takes the whole [`Simulation`] may make the
//! broker commit, and a commit may crash and restart the broker.

use std::time::Instant;

use fastrand::Rng;

use crate::client::SimClient;
use crate::host::BrokerHost;
use crate::hostile::HostilePeer;
use crate::models::Models;
use crate::network::Network;
use crate::plan::Plan;
use crate::scenario::Scenario;
use crate::wills::Observer;

/// The state of a run.
pub struct Simulation {
    pub(crate) scenario: Scenario,
    pub(crate) host: BrokerHost,
    pub(crate) network: Network,
    pub(crate) clients: Vec<SimClient>,
    pub(crate) hostile_peers: Vec<HostilePeer>,
    pub(crate) models: Models,
}

impl Simulation {
    /// Creates the simulation of `plan`; `rng` makes all further random decisions.
    pub fn new(plan: Plan, rng: Rng, traced: bool) -> Self {
        let now = Instant::now();
        let mut host = BrokerHost::new(&plan, now);
        let has_store = host.has_store();
        let observer = Observer::new(&mut host.broker, now, has_store);
        let clients = plan.clients.iter().enumerate();
        let clients = clients
            .map(|(index, plan)| SimClient::new(index, plan.clone(), now))
            .collect();
        Self {
            host,
            network: Network::default(),
            clients,
            hostile_peers: (0..plan.hostile_peers).map(HostilePeer::new).collect(),
            models: Models::new(plan.queue_limit, observer),
            scenario: Scenario::new(plan, rng, now, traced),
        }
    }

    /// Returns the lines of the trace. The trace is empty unless the simulation was created with `traced`.
    pub fn trace(&self) -> &[String] {
        self.scenario.lines()
    }
}
