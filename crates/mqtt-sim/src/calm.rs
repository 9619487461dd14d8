//! The calm phase of a run: all exchanges finish without faults. The checks at the end of the run then require that no
//! message is missing.

use crate::Violation;
use crate::broker_side::broker_sends;
use crate::client::SimClient;
use crate::client_side::{client_reads, client_sends};
use crate::faults::pass_to_next_deadline;
use crate::host::BrokerHost;
use crate::network::Network;
use crate::restart::commit;
use crate::simulation::Simulation;
use crate::states::Subscriber;
use crate::turns::broker_reads;

/// The maximum number of steps until all exchanges have finished (I13).
const CALM_STEPS: u64 = 200_000;

/// The maximum number of wills that wait for the acknowledgements of the observer at the end of a run.
const MAXIMUM_WILLS: usize = 16;

/// Runs steps without faults until `is_done` returns `true` (I13).
pub(crate) fn settle(
    simulation: &mut Simulation,
    is_done: impl Fn(&mut Simulation) -> bool,
) -> Result<(), Violation> {
    for count in 0..CALM_STEPS {
        if is_done(simulation) {
            return Ok(());
        }
        simulation.work()?;
        // Every 256 steps each link moves its bytes once. If no byte moves and the broker has no work, only a deadline
        // can change the state, so the simulated time advances to the next one.
        if count % 256 == 255 {
            let before = simulation.scenario.hash;
            move_bytes_of_all_links(simulation)?;
            let (network, host) = (&mut simulation.network, &mut simulation.host);
            if before == simulation.scenario.hash && !network.has_work(&mut host.broker) {
                pass_to_next_deadline(simulation);
            }
        }
    }
    let states: Vec<_> = simulation.clients.iter().map(SimClient::state).collect();
    Err(Violation::new(
        "I13",
        format!("not finished after {CALM_STEPS} steps: {states:?}"),
    ))
}

fn move_bytes_of_all_links(simulation: &mut Simulation) -> Result<(), Violation> {
    for index in 0..simulation.network.links.len().min(64) {
        let links = &simulation.network.links;
        let index = index.min(links.len().saturating_sub(1));
        if links.is_empty() {
            continue;
        }
        let Simulation {
            scenario,
            network,
            clients,
            ..
        } = &mut *simulation;
        client_sends(scenario, network, clients, index)?;
        broker_sends(simulation, index)?;
        broker_reads(simulation, index)?;
        let Simulation {
            scenario,
            network,
            clients,
            models,
            ..
        } = &mut *simulation;
        if index < network.links.len() {
            client_reads(scenario, network, clients, models, index)?;
            network.remove_if_over(clients, index);
        }
    }
    Ok(())
}

/// Returns `true` if no exchange, byte or request is waiting anywhere.
pub(crate) fn is_quiet(simulation: &mut Simulation) -> bool {
    let Simulation {
        host,
        network,
        clients,
        ..
    } = simulation;
    !network.has_work(&mut host.broker) && is_at_rest(host, network, clients)
}

fn is_at_rest(host: &BrokerHost, network: &Network, clients: &[SimClient]) -> bool {
    clients.iter().all(|client| {
        client.to_publish == 0
            && client.core.is_connected()
            && client.core.unfinished() == 0
            && client.core.output().is_empty()
            && client.application.pending.is_empty()
            && client.application.unanswered == 0
            && client.up.open() == 0
            && client.down.open() == 0
    }) && network.links.iter().all(|link| {
        !link.is_cut
            && link.up.is_empty()
            && link.broker_input.is_empty()
            && link.down.is_empty()
            && link.client_is_open
            && link
                .connection
                .is_some_and(|id| host.broker.whole_output(id).is_empty())
    })
}

/// Checks everything that must be true after the last exchange: deliveries, drops, states and wills.
pub(crate) fn check_end(simulation: &mut Simulation) -> Result<(), Violation> {
    let Simulation {
        scenario,
        host,
        clients,
        hostile_peers,
        models,
        ..
    } = &mut *simulation;
    models.check_deliveries(clients)?;
    // The broker also counts drops for hostile peers and for clients that do not keep their session. `Queues` does not
    // follow these.
    let is_exact = hostile_peers.is_empty() && clients.iter().all(|client| client.plan.lasts);
    models.check_drops(&mut host.broker, scenario.now, is_exact)?;
    for (index, client) in clients.iter().enumerate() {
        let subscriber = Subscriber {
            granted: client.plan.subscribed,
            subscribes_once: client.plan.subscribes_once,
        };
        if client.plan.states && !client.application.is_unsubscribed {
            let known = &client.application.states;
            let has_crashed = host.crashes > 0;
            models.states.check(index, known, subscriber, has_crashed)?;
        }
    }
    check_wills(simulation)
}

fn check_wills(simulation: &mut Simulation) -> Result<(), Violation> {
    // Each acknowledgement of the observer may release the next will, and each release may need a commit.
    for _ in 0..MAXIMUM_WILLS {
        commit(simulation)?;
        let (broker, now) = (&mut simulation.host.broker, simulation.scenario.now);
        simulation.models.observer.read(broker, now)?;
        if !broker.has_mutations() {
            break;
        }
    }
    // With a store a will waits for its commit. With a small budget a will may wait for a later turn.
    let (scenario, host) = (&simulation.scenario, &simulation.host);
    let may_be_late = host.has_store() || scenario.plan.budget.is_some();
    for (index, client) in simulation.clients.iter_mut().enumerate() {
        client.wills.pass_time(scenario.now);
        let observer = &simulation.models.observer;
        observer.check(index, &client.wills, may_be_late)?;
    }
    Ok(())
}
