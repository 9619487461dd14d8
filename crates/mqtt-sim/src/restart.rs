//! Commits, crashes and restarts of the broker. The broker writes output only after the changes on which the output
//! depends are durable. So after a crash all models return to the state of the last durable commit, as the broker does.

use mqtt_broker_core::{InputProgress, Snapshot};

use crate::Violation;
use crate::client::SimClient;
use crate::host::{CommitEnd, turn_of};
use crate::output_check::check_all_output;
use crate::simulation::Simulation;

/// Commits the mutations of the broker, if it has a store. On a slow disk the commit takes several steps, and mutations
/// that are recorded in this time belong to the next commit.
pub(crate) fn commit(simulation: &mut Simulation) -> Result<(), Violation> {
    if !simulation.host.has_store() {
        return Ok(());
    }
    begin_commit(simulation)?;
    let scenario = &mut simulation.scenario;
    let is_slow = !scenario.is_calm && scenario.rng.u8(0..100) < scenario.plan.slow_store;
    if is_slow {
        Ok(())
    } else {
        end_commit(simulation)
    }
}

/// Begins a commit, unless one is in progress, and records the models. All output that the broker made before the
/// commit is checked first, because this check updates the models.
pub(crate) fn begin_commit(simulation: &mut Simulation) -> Result<(), Violation> {
    if simulation.host.begin_commit(&simulation.scenario.plan)? {
        check_all_output(simulation)?;
        let now = simulation.scenario.now;
        let clients = simulation.clients.iter_mut();
        clients.for_each(|client| client.begin_commit(now));
    }
    Ok(())
}

/// Finishes the commit in progress. If the disk fails, the broker dies and starts again.
pub(crate) fn end_commit(simulation: &mut Simulation) -> Result<(), Violation> {
    match simulation.host.end_commit(&mut simulation.scenario)? {
        CommitEnd::Durable => {
            let clients = simulation.clients.iter_mut();
            clients.for_each(SimClient::end_commit);
            Ok(())
        }
        CommitEnd::Failed { turn, power_loss } => broker_fails(simulation, turn, power_loss),
    }
}

/// Restarts the broker after commit number `turn` has failed. Even so, the commit may be durable. In this case the
/// store contains its turn record.
fn broker_fails(simulation: &mut Simulation, turn: u64, power_loss: bool) -> Result<(), Violation> {
    simulation.host.crashes += 1;
    let saved = reopen(simulation, power_loss)?;
    if turn_of(&saved) == Some(turn) {
        let clients = simulation.clients.iter_mut();
        clients.for_each(SimClient::end_commit);
    }
    restart(simulation, saved);
    Ok(())
}

/// Kills the process of the broker, between two commits or during one.
pub(crate) fn broker_dies(simulation: &mut Simulation, power_loss: bool) -> Result<(), Violation> {
    let scenario = &mut simulation.scenario;
    scenario.note(|| format!("the broker dies, power lost: {power_loss}"));
    simulation.host.crashes += 1;
    let saved = reopen(simulation, power_loss)?;
    restart(simulation, saved);
    Ok(())
}

/// Opens the store again after the process has ended, and loads its content.
pub(crate) fn reopen(simulation: &mut Simulation, power_loss: bool) -> Result<Snapshot, Violation> {
    let observer = &mut simulation.models.observer;
    simulation
        .host
        .reopen(&mut simulation.scenario, observer, power_loss)
}

/// Replaces the broker by a new one with the loaded content. All connections are lost.
pub(crate) fn restart(simulation: &mut Simulation, saved: Snapshot) {
    let Simulation {
        scenario,
        host,
        network,
        clients,
        hostile_peers,
        models,
    } = simulation;
    for link in &mut network.links {
        link.connection = None;
        link.broker_input.clear();
        link.progress = InputProgress::Drained;
        // Bytes that the process had not read are lost with its sockets.
        link.up.clear();
        link.checked = 0;
        // Bytes that the broker wrote before its death may still arrive.
        let kept = scenario.rng.usize(0..=link.down.len());
        link.down.truncate(kept);
    }
    let now = scenario.now;
    for client in clients {
        client.broker_restarts(now);
    }
    hostile_peers.iter_mut().for_each(|peer| peer.lose());
    host.restart(&scenario.plan, now, saved);
    models.observer.connect(&mut host.broker, now);
}
