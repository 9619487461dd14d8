//! The broker's end of a link: the broker sends what it may write, and the last output of connections that it has ended.

use crate::Violation;
use crate::link::{LINK_CAPACITY, spurious};
use crate::output_check::{
    check_output, check_output_to, connection_has_ended, has_ended, remove_broker_end,
};
use crate::restart::commit;
use crate::scenario::Moved;
use crate::simulation::Simulation;

/// The capacity of a link in runs with a small budget, so that output waits at the broker. A CONNECT fits into the
/// link.
const SMALL_LINK_CAPACITY: usize = 256;

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

/// Moves the last output of connections that the broker has ended, for example because another connection took over the
/// session. The models see this output before they see packets that follow from the end, such as a will.
pub(crate) fn ended_connections_send(simulation: &mut Simulation) -> Result<(), Violation> {
    // The loop below looks at every connection, so the list of changed ones is only emptied.
    while simulation.host.broker.poll_changed().is_some() {}
    for index in 0..simulation.network.links.len() {
        if has_ended(simulation, index) {
            broker_sends(simulation, index)?;
            check_output(simulation, index)?;
            // The last bytes may wait for room in the link or for a commit, but the broker has already changed the
            // session.
            connection_has_ended(simulation, index);
        }
    }
    Ok(())
}
