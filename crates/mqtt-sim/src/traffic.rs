//! Moves bytes between clients and the broker in pieces of random size, and passes them to the checkers: when an end
//! sends them, and again when the other end receives them. `ends.rs` handles the ends of connections.

use std::ops::ControlFlow;

use mqtt_broker_core::{ConnectionId, InputProgress};

use crate::Violation;
use crate::client::SimClient;
use crate::ends::{client_lost, ended_connections_send, remove_broker_end};
use crate::models::Models;
use crate::network::Network;
use crate::publishing::deliver;
use crate::restart::commit;
use crate::scenario::{Moved, Scenario};
use crate::simulation::Simulation;
use crate::turns::broker_handles;
use crate::wills::number_will;

/// The number of bytes that a link stores in each direction. An end cannot write while the link is full.
const LINK_CAPACITY: usize = 4096;

/// The capacity of a link in runs with a small budget, so that output waits at the broker. A CONNECT fits into the
/// link.
const SMALL_LINK_CAPACITY: usize = 256;

/// The Topic Alias Maximum that the broker announces by default.
const BROKER_ALIASES: u16 = 10;

/// The maximum number of bytes that wait at an end (I8). Messages are short and few are in flight, so 64 KiB are
/// plenty.
const MAXIMUM_UNWRITTEN: usize = 64 * 1024;

/// The number of bytes by which output may exceed its limit: one message, and acknowledgements of four bytes.
const ABOVE_LIMIT: usize = 512 + 4 * 200;

/// Returns a PUBACK, PUBREC or PUBCOMP with a packet identifier that is not in use.
fn spurious(rng: &mut fastrand::Rng) -> [u8; 4] {
    let first = [0x40, 0x50, 0x70][rng.usize(0..3)];
    [first, 2, 0xFF, 0xFE]
}

/// Moves output of a client into its link.
pub(crate) fn client_sends(
    scenario: &mut Scenario,
    network: &mut Network,
    clients: &mut [SimClient],
    index: usize,
) -> Result<(), Violation> {
    let link = &mut network.links[index];
    if !link.client_is_open || link.is_cut {
        return Ok(());
    }
    let client = &mut clients[link.client];
    let room = LINK_CAPACITY.saturating_sub(link.up.len());
    let output = client.core.output();
    let count = output.len().min(room);
    if count == 0 {
        return Ok(());
    }
    let mut bytes = output[..count].to_vec();
    client.core.consume_output(scenario.now, count);
    if !link.client_sent_connect {
        link.client_sent_connect = true; // CONNECT is the first packet, and fits into the link
        number_will(&mut bytes, link.number);
    }
    link.up.extend(&bytes);
    let goodbye = &mut link.client_said_goodbye;
    let up = &mut client.up;
    link.client_sent.read(&bytes, |packet| {
        if *goodbye {
            return Err(Violation::new(
                "I11",
                format!("a packet behind DISCONNECT: {packet:?}"),
            ));
        }
        *goodbye = packet.kind == 14;
        if packet.topic_alias > BROKER_ALIASES {
            return Err(Violation::new(
                "I10",
                format!("an alias too high: {packet:?}"),
            ));
        }
        up.sends(&packet)
    })?;
    // An acknowledgement within another packet would make both malformed.
    let open = client.core.is_connected() && !*goodbye && link.client_sent.is_between_packets();
    if open && scenario.rng.u8(0..100) < scenario.plan.spurious {
        link.up.extend(spurious(&mut scenario.rng));
    }
    scenario.record(Moved::ClientSends, link.client, &bytes);
    Ok(())
}

/// Moves output of the broker into the link, as far as it may be written.
pub(crate) fn broker_sends(simulation: &mut Simulation, index: usize) -> Result<(), Violation> {
    commit(simulation)?;
    let Some(id) = simulation.network.links[index].connection else {
        return Ok(());
    };
    // The broker may write output that waits for no commit immediately, so this output is checked now.
    check_output_to(simulation, index, simulation.host.broker.output(id).len())?;
    let Simulation {
        scenario,
        host,
        network,
        clients,
        ..
    } = simulation;
    let has_ended = host.broker.has_ended(id);
    let capacity = match scenario.plan.budget {
        Some(_) => SMALL_LINK_CAPACITY,
        None => LINK_CAPACITY,
    };
    let link = &mut network.links[index];
    // A socket still accepts bytes after the connection is lost, so a cut does not block the broker.
    let room = if link.is_cut || !link.client_is_open {
        usize::MAX
    } else {
        capacity.saturating_sub(link.down.len())
    };
    let output = host.broker.output(id);
    let count = link.checked.min(room).min(output.len());
    let bytes = output[..count].to_vec();
    link.checked -= count;
    host.broker.consume_output(scenario.now, id, count);
    if !link.is_cut {
        link.down.extend(&bytes);
    }
    // An acknowledgement is only inserted where all earlier output was checked and ends with a complete packet.
    let open = link.connack_seen
        && !link.broker_said_goodbye
        && !link.is_cut
        && link.checked == 0
        && link.broker_sent.is_between_packets();
    if open && scenario.rng.u8(0..100) < scenario.plan.spurious {
        link.down.extend(spurious(&mut scenario.rng));
    }
    let client = link.client;
    if has_ended && host.broker.whole_output(id).is_empty() {
        remove_broker_end(scenario.now, host, network, clients, index);
    }
    if !bytes.is_empty() {
        scenario.record(Moved::BrokerSends, client, &bytes);
    }
    Ok(())
}

/// Checks the output of the broker on a link that was not checked before.
pub(crate) fn check_output(simulation: &mut Simulation, index: usize) -> Result<(), Violation> {
    check_output_to(simulation, index, usize::MAX)
}

/// Checks the first `count` bytes of the broker's output on a link, except those that were checked before.
fn check_output_to(
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
        // The last output of this connection may wait for a commit. The broker discards these bytes, so no checker sees
        // them.
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

/// Lets some bytes, or the end of the stream, reach the client.
pub(crate) fn client_reads(
    scenario: &mut Scenario,
    network: &mut Network,
    clients: &mut [SimClient],
    models: &mut Models,
    index: usize,
) -> Result<(), Violation> {
    let link = &mut network.links[index];
    let count = scenario.piece(link.down.len());
    if !link.client_is_open || link.stalled_until > scenario.step {
        return Ok(());
    }
    let client_index = link.client;
    let client = &mut clients[client_index];
    if count == 0 {
        let closed = link.connection.is_none() || link.is_cut;
        if closed && link.down.is_empty() {
            client.core.handle_close();
            scenario.note(|| format!("client {client_index} notices the end of link {index}"));
            client_handles(scenario, network, clients, models, client_index)?;
        }
        return Ok(());
    }
    let bytes: Vec<u8> = link.down.drain(..count).collect();
    let broker_receive_maximum = scenario.plan.broker_receive_maximum;
    link.client_got.read(&bytes, |packet| {
        if packet.kind == 2 {
            client.sees_connack(packet.session_present, broker_receive_maximum);
        }
        client.up.answered(&packet);
        Ok(())
    })?;
    client.input.extend(&bytes);
    scenario.record(Moved::ClientReads, client_index, &bytes);
    client_handles(scenario, network, clients, models, client_index)
}

/// Lets the client handle the bytes that it has received.
pub(crate) fn client_handles(
    scenario: &mut Scenario,
    network: &mut Network,
    clients: &mut [SimClient],
    models: &mut Models,
    index: usize,
) -> Result<(), Violation> {
    let now = scenario.now;
    let client = &mut clients[index];
    let buffer = std::mem::take(&mut client.input);
    let mut input = &buffer[..];
    let (application, plan) = (&mut client.application, &client.plan);
    let result = client
        .core
        .handle_input(now, &mut input, &mut |connection, event| {
            application.handle_event(now, plan, connection, &event);
            ControlFlow::Continue(())
        });
    client.input = input.to_vec();
    let got = std::mem::take(&mut application.got);
    let (waiting, unwritten) = (application.pending.len(), client.core.output().len());
    if waiting > usize::from(scenario.plan.broker_window) || unwritten > MAXIMUM_UNWRITTEN {
        let what = format!("{waiting} messages and {unwritten} bytes wait at client {index}");
        return Err(Violation::new("I8", what));
    }
    for taken in &got {
        deliver(clients, models, index, taken)?;
    }
    match result {
        Ok(_) => Ok(()),
        Err(error) => client_lost(scenario, network, &mut clients[index], error),
    }
}
