//! Handles the ends of connections. Client and broker notice the end of a connection at different times, so each side
//! has its own functions here.

use std::time::Instant;

use mqtt_client::ClientError;
use mqtt_session::CloseReason;

use crate::Violation;
use crate::client::SimClient;
use crate::host::BrokerHost;
use crate::network::Network;
use crate::scenario::Scenario;
use crate::simulation::Simulation;
use crate::traffic::{broker_sends, check_output};

/// Handles the loss of a client's connection, and decides when the client reconnects.
pub(crate) fn client_lost(
    scenario: &mut Scenario,
    network: &mut Network,
    client: &mut SimClient,
    error: ClientError,
) -> Result<(), Violation> {
    let index = client.index;
    // Faults of the network and of the broker end connections with these errors. With any other error the client
    // blames an honest broker for breaking the protocol.
    let passing = matches!(
        &error,
        ClientError::Closed(
            CloseReason::ConnectionLost
                | CloseReason::HandshakeTimeout
                | CloseReason::KeepAliveTimeout
                | CloseReason::Disconnected(_)
        )
    );
    if !passing {
        return Err(Violation::new(
            "I11",
            format!("client {index} blames the broker: {error}"),
        ));
    }
    let random = scenario.rng.u32(..);
    if let Some(link) = client.link.take() {
        let link = &mut network.links[link];
        link.client_is_open = false;
        // The client core resends all packets of its output with DUP 1, even those that never reached the socket. So
        // they count as sent in the checker, too.
        let up = &mut client.up;
        link.client_sent
            .read(client.core.output(), |packet| up.sends(&packet))?;
    }
    client.up.fault();
    client.down.fault();
    client.application.pending.clear(); // the broker resends them
    let (_, wait) = client
        .core
        .handle_lost(scenario.now, error, random)
        .map_err(|error| Violation::new("I13", format!("client {index} gives up: {error}")))?;
    client.retry_at = scenario.now + wait;
    Ok(())
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

/// Moves the last output of connections that the broker has ended, for example because another connection took over the
/// session. The models see this output before they see packets that follow from the end, such as a will.
pub(crate) fn ended_connections_send(simulation: &mut Simulation) -> Result<(), Violation> {
    // The loop below looks at every connection, so the list of changed ones is only emptied.
    while simulation.host.broker.poll_changed().is_some() {}
    for index in 0..simulation.network.links.len() {
        if has_ended(simulation, index) {
            broker_sends(simulation, index)?;
            check_output(simulation, index)?;
            // The last bytes may wait for room in the link or for a commit, but the session of the broker has already
            // changed.
            connection_has_ended(simulation, index);
        }
    }
    Ok(())
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

/// Returns `true` if the broker has ended the connection of a link and still has its end.
fn has_ended(simulation: &Simulation, index: usize) -> bool {
    let connection = simulation.network.links[index].connection;
    connection.is_some_and(|id| simulation.host.broker.has_ended(id))
}

fn connection_has_ended(simulation: &mut Simulation, index: usize) {
    let now = simulation.scenario.now;
    let Simulation {
        host,
        network,
        clients,
        ..
    } = simulation;
    note_end(now, host, network, clients, index);
}
