//! Checks each byte of the broker's output once, and updates the models for the ends of connections.

use std::time::Instant;

use crate::Violation;
use crate::client::SimClient;
use crate::host::BrokerHost;
use crate::link::MAXIMUM_UNWRITTEN;
use crate::models::Models;
use crate::network::Network;
use crate::simulation::Simulation;

/// The number of bytes by which output may exceed its limit: one message, and acknowledgements of four bytes.
const ABOVE_LIMIT: usize = 512 + 4 * 200;

/// Checks the output of the broker on a link that was not checked before.
pub(crate) fn check_output(simulation: &mut Simulation, index: usize) -> Result<(), Violation> {
    check_output_to(simulation, index, usize::MAX)
}

/// Checks all output of the broker that was not checked before.
pub(crate) fn check_all_output(simulation: &mut Simulation) -> Result<(), Violation> {
    // Output of a connection that has ended is checked first, because other packets may follow from the end.
    for index in 0..simulation.network.links.len() {
        if has_ended(simulation, index) {
            check_output(simulation, index)?;
            connection_has_ended(simulation, index);
        }
    }
    for index in 0..simulation.network.links.len() {
        check_output(simulation, index)?;
    }
    Ok(())
}

/// Checks the first `count` bytes of the broker's output on a link, except those that were checked before.
pub(crate) fn check_output_to(
    simulation: &mut Simulation,
    index: usize,
    count: usize,
) -> Result<(), Violation> {
    let link = &mut simulation.network.links[index];
    let Some(id) = link.connection else {
        return Ok(());
    };
    let (output, checked) = (simulation.host.broker.whole_output(id), link.checked);
    let maximum = match &simulation.scenario.plan.budget {
        Some(budget) => budget.unwritten + ABOVE_LIMIT,
        None => MAXIMUM_UNWRITTEN,
    };
    if output.len() > maximum {
        let what = format!("{} bytes wait for client {}", output.len(), link.client);
        return Err(Violation::new("I8", what));
    }
    let count = count.min(output.len()).max(checked);
    let bytes = output[checked..count].to_vec();
    link.checked = count;
    check_broker_bytes(simulation, index, &bytes)
}

fn check_broker_bytes(
    simulation: &mut Simulation,
    index: usize,
    bytes: &[u8],
) -> Result<(), Violation> {
    let link = &mut simulation.network.links[index];
    let now = link.answered_at.unwrap_or(simulation.scenario.now);
    let client = &mut simulation.clients[link.client];
    let (connack_seen, goodbye) = (&mut link.connack_seen, &mut link.broker_said_goodbye);
    let (number, clean_start) = (link.number, link.clean_start);
    let broker_window = simulation.scenario.plan.broker_window;
    let Models { states, queues, .. } = &mut simulation.models;
    let highest_read = states.highest_read();
    link.broker_sent.read(bytes, |packet| {
        if *goodbye || (packet.kind == 2) == *connack_seen {
            return Err(Violation::new("I11", format!("out of place: {packet:?}")));
        }
        let plan = &client.plan;
        let too_large = |maximum: u32| packet.size > maximum as usize;
        if plan.maximum_packet_size.is_some_and(too_large)
            || packet.topic_alias > plan.topic_alias_maximum
        {
            let what = format!("more than client {} takes: {packet:?}", link.client);
            return Err(Violation::new("I10", what));
        }
        match packet.kind {
            2 => {
                *connack_seen = true;
                let link_of_it = (number, clean_start);
                let is_resumed = client.check_connack(&packet, link_of_it, broker_window, now)?;
                if let Some(queues) = queues.as_mut().filter(|_| !is_resumed) {
                    queues.forget_held(link.client);
                }
            }
            14 => {
                *goodbye = true;
                // 0x8D is Keep Alive timeout, and 0x8E is Session taken over. Any other reason code blames an honest
                // client, except 0x8B, Server shutting down, during a stop.
                let is_stopping = packet.reason == 0x8B && simulation.host.is_stopping;
                if ![0x8D, 0x8E].contains(&packet.reason) && !is_stopping {
                    let what = format!("the broker blames a client: {packet:?}");
                    return Err(Violation::new("I11", what));
                }
            }
            _ => {}
        }
        client.replay.sends(&packet, highest_read)?;
        if let Some(queues) = queues.as_mut().filter(|_| client.plan.lasts) {
            queues.broker_sends(link.client, &packet);
        }
        client.down.sends(&packet)
    })
}

/// Removes the broker's end of a link, together with input that the broker has not handled.
pub(crate) fn remove_broker_end(
    now: Instant,
    host: &mut BrokerHost,
    network: &mut Network,
    clients: &mut [SimClient],
    index: usize,
) {
    let link = &mut network.links[index];
    let Some(id) = link.connection.take() else {
        return;
    };
    link.broker_input.clear();
    host.broker.remove(now, id);
    note_end(now, host, network, clients, index);
}

/// Updates the model for the end of a connection that the broker had accepted. Calls after the first have no effect.
fn note_end(
    now: Instant,
    host: &BrokerHost,
    network: &mut Network,
    clients: &mut [SimClient],
    index: usize,
) {
    let link = &mut network.links[index];
    if host.is_stopping || !link.connack_seen || std::mem::replace(&mut link.end_is_counted, true) {
        return;
    }
    let client = link.client;
    // Only the end of the newest connection ends the session. Older connections were taken over, and their ends only
    // concern their wills.
    let accepted = link.accepted;
    let is_newest = network
        .links
        .iter()
        .all(|other| other.client != client || !other.connack_seen || other.accepted <= accepted);
    let link = &network.links[index];
    clients[client].connection_ends(now, link.number, is_newest, link.left);
}

/// Returns `true` if the broker has ended the connection of a link, and the broker's end is not removed yet.
pub(crate) fn has_ended(simulation: &Simulation, index: usize) -> bool {
    let connection = simulation.network.links[index].connection;
    connection.is_some_and(|id| simulation.host.broker.has_ended(id))
}

pub(crate) fn connection_has_ended(simulation: &mut Simulation, index: usize) {
    let now = simulation.scenario.now;
    let Simulation {
        host,
        network,
        clients,
        ..
    } = simulation;
    note_end(now, host, network, clients, index);
}
