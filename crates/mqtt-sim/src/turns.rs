//! The turns of the broker. The broker handles bytes until its budget of work is spent, and continues in a later turn.
//! If the broker blocks a connection, the simulation reads nothing from this connection until the broker resumes it
//! (I22).

use mqtt_broker_core::ConnectionId;

use crate::Violation;
use crate::client::SimClient;
use crate::ends::{check_all_output, ended_connections_send};
use crate::link::{Left, Link};
use crate::models::Models;
use crate::simulation::Simulation;

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
