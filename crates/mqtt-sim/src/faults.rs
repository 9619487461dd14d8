//! The faults of a run: cuts and stalls of links, clients that leave or die, and crashes and stops of the broker. The
//! passing of time is here too, because it fires the timers that faults have left.

use std::time::{Duration, Instant};

use mqtt_client::ClientError;
use mqtt_session::CloseReason;

use crate::Violation;
use crate::broker_side::ended_connections_send;
use crate::client::SimClient;
use crate::client_side::{client_handles, client_lost, client_sends};
use crate::restart::broker_dies;
use crate::simulation::Simulation;
use crate::stop::stop_broker;

/// Injects each kind of fault with the chance that the plan gives, and then runs one step.
pub(crate) fn faulty_step(simulation: &mut Simulation) -> Result<(), Violation> {
    let scenario = &mut simulation.scenario;
    if scenario.rng.u32(0..10_000) < scenario.plan.cuts {
        simulation.network.cut(scenario, &mut simulation.clients);
    }
    if scenario.rng.u32(0..10_000) < scenario.plan.stalls {
        stall(simulation);
    }
    let scenario = &mut simulation.scenario;
    if scenario.rng.u32(0..10_000) < scenario.plan.leaves {
        leave(simulation)?;
    }
    let scenario = &mut simulation.scenario;
    if scenario.rng.u32(0..10_000) < scenario.plan.crashes {
        crash(simulation);
    }
    let scenario = &mut simulation.scenario;
    if let Some((crashes, _)) = scenario.plan.store {
        if scenario.rng.u32(0..10_000) < scenario.plan.stops {
            stop_broker(simulation)?;
        }
        let scenario = &mut simulation.scenario;
        if scenario.rng.u32(0..10_000) < crashes {
            let power_loss = scenario.rng.bool();
            broker_dies(simulation, power_loss)?;
        }
    }
    simulation.work()
}

/// Stalls a link: no bytes move on it for 200 steps, and up to 30 seconds pass, which may exceed the keep alive.
fn stall(simulation: &mut Simulation) {
    let (scenario, links) = (&mut simulation.scenario, &mut simulation.network.links);
    if links.is_empty() {
        return;
    }
    let index = scenario.rng.usize(0..links.len());
    links[index].stalled_until = scenario.step + 200;
    let time = Duration::from_secs(scenario.rng.u64(1..30));
    scenario.note(|| format!("link {index} stalls, {time:?} pass"));
    pass_time(simulation, time);
}

/// Ends a client's connection with DISCONNECT. The client reconnects later.
fn leave(simulation: &mut Simulation) -> Result<(), Violation> {
    let Simulation {
        scenario,
        network,
        clients,
        ..
    } = simulation;
    let index = scenario.rng.usize(0..clients.len());
    let (ends_session, with_will) = (scenario.rng.bool(), scenario.rng.u8(0..3) == 0);
    let client = &mut clients[index];
    let Some(link) = client.link.filter(|_| client.core.is_connected()) else {
        return Ok(());
    };
    client.leave(scenario.now, ends_session, with_will);
    scenario.note(|| format!("client {index} leaves"));
    client_sends(scenario, network, clients, link)?;
    let error = ClientError::Closed(CloseReason::ConnectionLost);
    client_lost(scenario, network, &mut clients[index], error)
}

/// Kills the process of a random client, if the plan permits this client to die.
fn crash(simulation: &mut Simulation) {
    let Simulation {
        scenario,
        network,
        clients,
        models,
        ..
    } = simulation;
    let index = scenario.rng.usize(0..clients.len());
    let client = &mut clients[index];
    if !client.plan.may_crash {
        return;
    }
    if let Some(link) = client.link.take() {
        let link = &mut network.links[link];
        link.client_is_open = false;
        // Nobody reads these bytes any more. Bytes that the client has sent may still reach the broker.
        link.down.clear();
    }
    for key in client.crash() {
        // The new process cannot resend this message, so its delivery is not guaranteed.
        models.oracle.abandoned(key);
    }
    client.retry_at = scenario.now;
    network.cuts += 1;
    scenario.note(|| format!("client {index} dies"));
}

pub(crate) fn pass_time(simulation: &mut Simulation, time: Duration) {
    let now = simulation.scenario.now + time;
    pass_time_to(simulation, now);
}

fn pass_time_to(simulation: &mut Simulation, now: Instant) {
    if now > simulation.scenario.now {
        // The callers of this function have no result to return. `check_failures` reports the violation later.
        if let Err(violation) = end_instant(simulation) {
            simulation.clients[0].failure.get_or_insert(violation);
        }
    }
    simulation.scenario.now = now;
    fire_timers(simulation);
}

/// Ends the current instant. The observer reads the wills that were published at this instant, so that the time of each
/// will is exact.
fn end_instant(simulation: &mut Simulation) -> Result<(), Violation> {
    let now = simulation.scenario.now;
    let observer = &mut simulation.models.observer;
    observer.read(&mut simulation.host.broker, now)?;
    observer.time_passes(now);
    Ok(())
}

/// Advances the time to the next deadline of a client or of the broker.
pub(crate) fn pass_to_next_deadline(simulation: &mut Simulation) {
    let own = simulation.clients.iter().map(|client| match client.link {
        Some(_) => client.core.poll_timeout(),
        None => Some(client.retry_at),
    });
    let of_broker = simulation.host.broker.poll_timeout();
    let next = own.chain([of_broker]).flatten().min();
    if let Some(next) = next {
        pass_time_to(simulation, simulation.scenario.now.max(next));
    }
}

fn fire_timers(simulation: &mut Simulation) {
    let Simulation {
        scenario,
        host,
        network,
        clients,
        models,
        ..
    } = simulation;
    let (now, broker) = (scenario.now, &mut host.broker);
    while broker.poll_timeout().is_some_and(|due| due <= now) {
        broker.handle_timeout(now); // each call handles some of the passed deadlines
    }
    for index in 0..clients.len() {
        if clients[index].link.is_some() {
            clients[index].core.handle_timeout(now);
            if let Err(violation) = client_handles(scenario, network, clients, models, index) {
                clients[index].failure.get_or_insert(violation);
            }
        }
    }
    if let Err(violation) = ended_connections_send(simulation) {
        simulation.clients[0].failure.get_or_insert(violation);
    }
}

/// Returns the first violation that was found while timers fired, as an error.
pub(crate) fn check_failures(clients: &mut [SimClient]) -> Result<(), Violation> {
    clients
        .iter_mut()
        .find_map(|client| client.failure.take())
        .map_or(Ok(()), Err)
}
