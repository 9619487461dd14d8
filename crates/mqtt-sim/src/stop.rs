//! A graceful stop of the broker: the broker disconnects its clients, commits all mutations, and ends. No message that
//! the broker has read is lost, not even a message of QoS 0. No will is lost either (I12, I18, I21).

use crate::Violation;
use crate::broker_side::broker_sends;
use crate::client::SimClient;
use crate::restart::{begin_commit, end_commit, reopen, restart};
use crate::simulation::Simulation;
use crate::turns::run_background;

/// The maximum number of turns of a graceful stop.
const MAXIMUM_TURNS: usize = 1000;

/// Stops the broker gracefully and starts it again. The machine may lose power after the stop.
pub(crate) fn stop_broker(simulation: &mut Simulation) -> Result<(), Violation> {
    let (scenario, host) = (&mut simulation.scenario, &mut simulation.host);
    scenario.note(|| "the broker stops".to_owned());
    host.broker.shut_down(scenario.now);
    host.is_stopping = true;
    let result = write_last(simulation);
    simulation.host.is_stopping = false;
    if !result? {
        return Ok(()); // the disk has failed, so this was a crash
    }
    let clients = simulation.clients.iter_mut();
    clients.for_each(SimClient::end_commit);
    let power_loss = simulation.scenario.rng.bool();
    let saved = reopen(simulation, power_loss)?;
    simulation.host.stops += 1;
    restart(simulation, saved);
    Ok(())
}

/// Commits all mutations and writes the output. Returns `false` if the disk failed, which makes the stop a crash.
fn write_last(simulation: &mut Simulation) -> Result<bool, Violation> {
    let crashes = simulation.host.crashes;
    // Several commits may be necessary: the one in progress, one for each publication that is still delivered in
    // slices, and a last one.
    for turn in 0..MAXIMUM_TURNS {
        run_background(simulation)?;
        begin_commit(simulation)?;
        end_commit(simulation)?;
        if simulation.host.crashes > crashes {
            return Ok(false);
        }
        let broker = &mut simulation.host.broker;
        let has_more = broker.has_mutations() || broker.has_background_work();
        if turn > 0 && !has_more {
            break;
        }
    }
    if simulation.host.broker.has_mutations() {
        let what = "mutations are left after the last commit of a graceful stop";
        return Err(Violation::new("I21", what));
    }
    simulation.host.check_store(simulation.scenario.now)?;
    for index in 0..simulation.network.links.len() {
        broker_sends(simulation, index)?;
    }
    Ok(true)
}
