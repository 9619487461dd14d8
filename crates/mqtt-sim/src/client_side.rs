//! The client's end of a link: the client sends, reads, handles its input, and notices the loss of the connection. Each
//! byte passes through the checkers.

use std::ops::ControlFlow;

use mqtt_client::ClientError;
use mqtt_session::CloseReason;

use crate::Violation;
use crate::client::SimClient;
use crate::link::{LINK_CAPACITY, MAXIMUM_UNWRITTEN, spurious};
use crate::models::Models;
use crate::network::Network;
use crate::publishing::deliver;
use crate::scenario::{Moved, Scenario};
use crate::wills::number_will;

/// The Topic Alias Maximum that the broker announces by default.
const BROKER_ALIASES: u16 = 10;

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
