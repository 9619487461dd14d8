//! The turns of the broker. The broker handles bytes until its budget of work is spent, and continues in a later turn.
//! If the broker blocks a connection, the simulation reads nothing from this connection until the broker resumes it
//! (I22).

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::Violation;
use crate::broker_side::{broker_sends, ended_connections_send};
use crate::client::SimClient;
use crate::link::{Left, Link};
use crate::models::Models;
use crate::output_check::{check_all_output, check_output, remove_broker_end};
use crate::scenario::Moved;
use crate::simulation::Simulation;

/// Lets some bytes, or the end of the stream, reach the broker.
pub(crate) fn broker_reads(simulation: &mut Simulation, index: usize) -> Result<(), Violation> {
    let Simulation {
        scenario,
        host,
        network,
        ..
    } = simulation;
    network.resume_connections(&mut host.broker);
    let link = &mut network.links[index];
    let Some(id) = link.connection else {
        // No process reads these bytes: the broker has closed its end.
        link.up.clear();
        return Ok(());
    };
    match link.progress {
        // The broker reads nothing in this turn, but continues with the bytes that it has.
        InputProgress::Yielded => return broker_handles(simulation, index, id),
        InputProgress::Blocked => return Ok(()),
        InputProgress::Drained => {}
    }
    if link.stalled_until > scenario.step {
        return Ok(());
    }
    let count = scenario.piece(link.up.len());
    if count == 0 {
        let closed = !link.client_is_open || link.is_cut;
        // With late closes the broker notices an end only in one of eight attempts, so that the client often reconnects
        // first.
        let late = !scenario.is_calm && scenario.plan.late_closes && scenario.rng.u8(0..8) > 0;
        if closed && link.up.is_empty() && !late {
            return broker_notices_end(simulation, index, id);
        }
        return Ok(());
    }
    let bytes: Vec<u8> = link.up.drain(..count).collect();
    scenario.record(Moved::BrokerReads, link.client, &bytes);
    if host.broker.has_ended(id) {
        // The connection has ended, but it still exists because its last output may wait for a commit. The broker
        // discards these bytes, so no checker sees them.
        host.broker.handle_input(scenario.now, id, &mut &bytes[..]);
        return ended_connections_send(simulation);
    }
    link.broker_input.extend(&bytes);
    broker_handles(simulation, index, id)
}

/// Lets the broker notice the end of a link.
fn broker_notices_end(
    simulation: &mut Simulation,
    index: usize,
    id: ConnectionId,
) -> Result<(), Violation> {
    let text = || format!("broker notices the end of link {index}");
    simulation.scenario.note(text);
    // The broker does not know which of its bytes have arrived, so all its output counts as sent, even the part that
    // waits for a commit.
    simulation.network.links[index].is_cut = true;
    broker_sends(simulation, index)?;
    check_output(simulation, index)?;
    let Simulation {
        scenario,
        host,
        network,
        clients,
        ..
    } = simulation;
    host.broker.handle_close(scenario.now, id);
    remove_broker_end(scenario.now, host, network, clients, index);
    Ok(())
}

/// Lets the broker handle the bytes that it has read from a connection, as far as the budget of work of this turn
/// permits.
pub(crate) fn broker_handles(
    simulation: &mut Simulation,
    index: usize,
    id: ConnectionId,
) -> Result<(), Violation> {
    let input = std::mem::take(&mut simulation.network.links[index].broker_input);
    let mut rest = &input[..];
    begin_turn(simulation)?;
    let (host, now) = (&mut simulation.host, simulation.scenario.now);
    let progress = host.broker.handle_input(now, id, &mut rest);
    let link = &mut simulation.network.links[index];
    (link.broker_input, link.progress) = (rest.to_vec(), progress);
    // The models follow only the bytes that the broker has handled. The rest waits in `broker_input` for a later turn.
    let handled = &input[..input.len() - rest.len()];
    broker_has_read(
        link,
        &mut simulation.clients,
        &mut simulation.models,
        handled,
    )?;
    end_turn(simulation)?;
    let (host, link) = (&mut simulation.host, &mut simulation.network.links[index]);
    // The broker decides about session and will when it answers CONNECT, not when a commit releases the answer.
    if link.answered_at.is_none() && !host.broker.whole_output(id).is_empty() {
        link.answered_at = Some(now);
        host.accepted += 1;
        link.accepted = host.accepted;
    }
    run_background(simulation)?;
    ended_connections_send(simulation)
}

/// Lets the broker do the work that belongs to no connection, as far as the budget of work of this turn permits.
pub(crate) fn run_background(simulation: &mut Simulation) -> Result<(), Violation> {
    if simulation.host.broker.has_background_work() {
        begin_turn(simulation)?;
        let now = simulation.scenario.now;
        simulation.host.broker.run_background(now);
        end_turn(simulation)?;
    }
    Ok(())
}

/// Begins a turn of the broker. In a run with a queue limit all output is checked before the turn begins and after it
/// ends, so that the turn in which the broker sent each message is known.
fn begin_turn(simulation: &mut Simulation) -> Result<(), Violation> {
    end_turn(simulation)?;
    if let Some(queues) = &mut simulation.models.queues {
        queues.begin_turn();
    }
    Ok(())
}

fn end_turn(simulation: &mut Simulation) -> Result<(), Violation> {
    match simulation.models.queues {
        Some(_) => check_all_output(simulation),
        None => Ok(()),
    }
}

/// Updates the models for the packets that the broker has handled.
fn broker_has_read(
    link: &mut Link,
    clients: &mut [SimClient],
    models: &mut Models,
    bytes: &[u8],
) -> Result<(), Violation> {
    let (states, queues) = (&mut models.states, &mut models.queues);
    let keeps = |client: &SimClient| client.plan.lasts.then_some(client.plan.subscribed);
    let granted: Vec<_> = match queues {
        Some(_) => clients.iter().map(keeps).collect(),
        None => Vec::new(),
    };
    let client = &mut clients[link.client];
    link.broker_got.read(bytes, |packet| {
        match packet.kind {
            1 => {
                link.clean_start = packet.clean_start;
                client.clean_start = packet.clean_start;
            }
            3 => states.broker_reads(&packet),
            14 => {
                link.left = Some(Left {
                    expiry: packet.expiry,
                    with_will: packet.reason == 0x04,
                });
            }
            _ => {}
        }
        if let Some(queues) = queues {
            let granted = granted.iter().enumerate();
            let granted = granted.filter_map(|(index, granted)| Some((index, (*granted)?)));
            queues.broker_reads(link.client, &packet, granted);
        }
        client.replay.reads(&packet);
        client.down.answered(&packet);
        Ok(())
    })
}
