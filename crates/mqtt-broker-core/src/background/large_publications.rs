//! Delivers large publications in slices, one slice per turn, and acknowledges them after the last slice.
//! `routing/fan_out.rs` decides which publication may begin, and explains why.

use std::time::Instant;

use mqtt_codec::ReasonCode;

use crate::background::deferred;
use crate::broker::Broker;
use crate::flow::fan_outs::{FanOut, Origin, Publication};
use crate::lifecycle::close;
use crate::routing::routed::Routed;
use crate::routing::settle;
use crate::routing::{acknowledgement, delivery, fan_out, retain, router};

/// Delivers slices, and begins the publications that wait, until the budget of this call is spent.
pub(crate) fn advance_fan_outs(broker: &mut Broker, now: Instant) {
    while !broker.flow.work.is_spent() {
        let Some(mut fan_out) = broker.flow.fan_outs.current.take() else {
            // A deferred will cannot begin while a publication is in progress. No publication is in progress here, so
            // the deferred wills come first. Otherwise the waiting publications could follow each other without end.
            deferred::handle_deferred(broker, now);
            if broker.flow.fan_outs.current.is_none() && !begin_next(broker, now) {
                return;
            }
            continue;
        };
        let publication = &fan_out.publication;
        let (message, expires) = (&publication.message, publication.expires);
        let mut routed = Routed::from_message(message, publication.delivery, expires, now);
        while !broker.flow.work.is_spent() {
            let Some(copy) =
                router::next_copy(&broker.resources, &mut fan_out.targets, &routed.publish)
            else {
                break;
            };
            delivery::deliver(broker, now, copy.0, &mut routed, copy.1);
        }
        if fan_out.targets.is_empty() {
            end_fan_out(broker, now, fan_out)
        } else {
            broker.flow.fan_outs.current = Some(fan_out)
        }
    }
}

/// Begins the first publication that may begin now. Returns `false` if no publication may begin.
fn begin_next(broker: &mut Broker, now: Instant) -> bool {
    let Some(index) =
        fan_out::first_to_begin(&broker.durability, &mut broker.flow, &broker.resources)
    else {
        return false; // all publications wait for a commit, or none is left
    };
    let Some(publication) = broker.flow.fan_outs.waiting.remove(index) else {
        debug_assert!(false, "a publication that was found just now does not wait");
        return false;
    };
    broker.flow.work.spend(1);
    // The disk may have become full since the broker received the message.
    if retain::exceeds_quota(&broker.topics, &broker.resources, &publication.publish()) {
        let before = broker.durability.mutation_count();
        answer_publication(broker, now, &publication, ReasonCode::QuotaExceeded, before);
        return true;
    }
    fan_out::begin_fan_out(broker, now, publication, None);
    true
}

/// Ends the current publication after its last slice, and acknowledges its message.
fn end_fan_out(broker: &mut Broker, now: Instant, fan_out: FanOut) {
    let FanOut {
        publication,
        targets,
        mutations_before,
    } = fan_out;
    // The mutations must be taken for a commit before the next publication adds its own.
    broker.flow.fan_outs.is_sealed = broker.durability.mutations.is_some()
        && publication.may_mutate(broker.resources.limits.upgrade_qos);
    let reason_code = if targets.had_any() {
        ReasonCode::Success
    } else {
        ReasonCode::NoMatchingSubscribers
    };
    answer_publication(broker, now, &publication, reason_code, mutations_before);
}

/// Acknowledges a publication. If the publisher's connection has ended meanwhile, records the message in the
/// publisher's session, so that the resent message is recognised as a duplicate.
fn answer_publication(
    broker: &mut Broker,
    now: Instant,
    publication: &Publication,
    reason_code: ReasonCode,
    mutations_before: usize,
) {
    let Some(Origin {
        connection: id,
        client,
    }) = publication.origin
    else {
        return; // nobody waits for an acknowledgement
    };
    let made_mutations = broker.durability.mutation_count() > mutations_before;
    let connection = broker.connections.get_mut(id);
    if let Some(connection) = connection.filter(|connection| connection.client == Some(client)) {
        connection.is_publishing = false;
        match publication.delivery.packet_identifier() {
            // PUBACK and PUBREC of 3.x cannot report the error, so the publisher would discard the message.
            Some(_) if reason_code.is_error() && !broker.connections.supports_reason_codes(id) => {
                close::end_connection(broker, now, id, reason_code);
            }
            Some(packet_identifier) => {
                acknowledgement::acknowledge(
                    &mut broker.connections,
                    &mut broker.durability,
                    now,
                    id,
                    packet_identifier,
                    reason_code,
                    made_mutations,
                );
            }
            None => {}
        }
        // `take_mutations` does not wait for a publication that makes no mutations. There may then be fewer mutations
        // than at the beginning of the publication.
        let before = mutations_before.min(broker.durability.mutation_count());
        settle::settle(broker, id);
        broker.flow.throttle.note_mutations_of(
            &mut broker.connections,
            &broker.durability,
            id,
            before,
        );
        return broker.flow.throttle.resume(&mut broker.connections, id);
    }
    if !reason_code.is_error() {
        acknowledgement::hold_identifier(broker, client, publication.delivery);
    }
    if let Some(id) = broker
        .sessions
        .clients
        .get(client)
        .and_then(|client| client.connection)
    {
        broker.flow.throttle.resume(&mut broker.connections, id);
    }
}
