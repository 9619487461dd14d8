//! Finds the subscribers of a message, chooses the member of each shared subscription, and computes QoS, RETAIN and
//! subscription identifiers of each delivery. `publish.rs` decides if a message may be published, and `delivery.rs`
//! sends or queues the message for one client.

use std::time::Instant;

use mqtt_codec::{PublishRef, QoS, SubscriptionIdentifiers};

use crate::auth::acl::AclAction;
use crate::broker::Broker;
use crate::connection::ConnectionState;
use crate::flow::work;
use crate::keys::ClientKey;
use crate::resources::Resources;
use crate::routing::routed::{DeliveryOptions, Routed};
use crate::routing::{delivery, permissions};
use crate::topics::subscriptions::{Chosen, MemberState, Share, Subscriber};
use crate::topics::targets::Targets;

/// Delivers a message to all targets in this call. Returns `true` if at least one subscription matched.
pub(crate) fn deliver_all(
    broker: &mut Broker,
    now: Instant,
    routed: &mut Routed<'_>,
    targets: Targets,
) -> bool {
    let upgrade_qos = broker.resources.limits.upgrade_qos;
    // Each shared subscription is a delivery of its own, even for a client with a plain subscription.
    for Chosen { member, share } in &targets.shared {
        let copy = DeliveryOptions::new(&[*member], &routed.publish, upgrade_qos);
        delivery::deliver(
            broker,
            now,
            member.client,
            routed,
            copy.of_share(share.clone()),
        );
    }
    let merges_overlapping = !broker.resources.limits.allow_duplicates;
    let is_same = |a: &Subscriber, b: &Subscriber| merges_overlapping && a.client == b.client;
    for of_client in targets.plain.chunk_by(is_same) {
        if let Some(first) = of_client.first() {
            let copy = DeliveryOptions::new(of_client, &routed.publish, upgrade_qos);
            delivery::deliver(broker, now, first.client, routed, copy);
        }
    }
    let had_any = targets.had_any();
    broker.topics.matched = targets.plain; // the next message uses the memory of the list again
    had_any
}

/// Returns the subscriptions that match the topic of `publish`. A subscription of `from`, the publisher, is left out if
/// it has No Local set [MQTT-3.8.3-3].
pub(crate) fn collect_targets(
    broker: &mut Broker,
    publish: &PublishRef<'_>,
    from: Option<ClientKey>,
) -> Targets {
    let mut plain = std::mem::take(&mut broker.topics.matched);
    plain.clear();
    let mut shared = Vec::new();
    let mut filters = 0;
    broker
        .topics
        .subscriptions
        .each_filter_matching(publish.topic_name, |subscribers| {
            filters += 1;
            subscribers.plain().for_each(|subscriber| {
                let is_own = Some(subscriber.client) == from;
                if !(subscriber.state.options.no_local && is_own) {
                    plain.push(subscriber);
                }
            });
            subscribers.shares().for_each(|(topic_filter, share)| {
                shared.extend(choose(broker, share, publish).map(|member| Chosen {
                    member,
                    share: topic_filter.clone(),
                }));
            });
        });
    // Matching one filter or subscription takes about half a unit.
    broker
        .flow
        .work
        .spend((filters + plain.len() + shared.len()) / 2);
    // Subscriptions of ended sessions are left out. If no other subscription matches, PUBACK can then report 0x10 (No
    // matching subscribers).
    if broker.flow.has_stale_subscriptions() {
        plain.retain(|subscriber| broker.sessions.clients.contains_key(subscriber.client));
    }
    // Subscriptions of the same client must be neighbours, because they are one delivery [MQTT-3.3.4-2, MQTT-3.3.4-3].
    // With a single filter, the list is sorted already. A shared subscription is always a delivery of its own.
    if filters > 1 {
        plain.sort_by_key(|subscriber| subscriber.client);
    }
    Targets {
        plain,
        shared,
        next: 0,
        next_shared: 0,
    }
}

/// Returns `true` if the deliveries are more work than one connection may cause in one turn, so that they must be made
/// in slices.
pub(crate) fn is_large(resources: &Resources, targets: &Targets, payload: usize) -> bool {
    let limit = resources.limits.work_per_connection / work::copy_cost(payload);
    // The cheap comparison comes first, because `count` looks at the whole list.
    targets.plain.len() + targets.shared.len() > limit.max(1)
        && targets.count(!resources.limits.allow_duplicates) > limit.max(1)
}

/// Returns the client and the options of the next delivery, and advances past it. Returns `None` if no delivery is
/// left.
pub(crate) fn next_copy(
    resources: &Resources,
    targets: &mut Targets,
    publish: &PublishRef<'_>,
) -> Option<(ClientKey, DeliveryOptions)> {
    if let Some(Chosen { member, share }) = targets.next_member() {
        let copy = DeliveryOptions::new(&[*member], publish, resources.limits.upgrade_qos);
        return Some((member.client, copy.of_share(share.clone())));
    }
    let of_client = targets.next_client(!resources.limits.allow_duplicates)?;
    let copy = DeliveryOptions::new(of_client, publish, resources.limits.upgrade_qos);
    Some((of_client.first()?.client, copy))
}

/// Chooses the member of a shared subscription that receives this message. The choice is made when the message is
/// published, and not when it is sent: a queued message belongs to the session of one member, which stores it.
pub(crate) fn choose(
    broker: &Broker,
    share: &Share,
    publish: &PublishRef<'_>,
) -> Option<Subscriber> {
    share.choose(|member| member_state(broker, member, publish))
}

/// Returns the state of a member for the choice. A member without a connection receives no message of QoS 0, unless
/// `queue_qos0_messages` is set. A member is unable to receive the message if its queue is full, the ACL denies the
/// topic, or the message exceeds its Maximum Packet Size.
fn member_state(broker: &Broker, member: &Subscriber, publish: &PublishRef<'_>) -> MemberState {
    let Some(client) = broker.sessions.clients.get(member.client) else {
        return MemberState::Unable; // the session has ended, and its subscription is still in the tree
    };
    let Some(topic_name) = permissions::visible_topic(
        &broker.auth,
        &broker.sessions,
        member.client,
        publish.topic_name,
    ) else {
        return MemberState::Unable;
    };
    if client.queue.is_full(&broker.resources.limits)
        || !permissions::is_allowed(
            &broker.auth,
            &broker.sessions,
            member.client,
            publish.topic_name,
            AclAction::Read,
        )
    {
        return MemberState::Unable;
    }
    let granted = member.state.options.qos.min(publish.delivery.qos());
    let connection = client.connection.and_then(|id| broker.connections.get(id));
    match connection {
        Some(connection) if has_size_for(connection, member, topic_name, publish) => {
            MemberState::Present
        }
        None if granted > QoS::AtMostOnce || broker.resources.limits.queue_qos_0 => {
            MemberState::Away
        }
        _ => MemberState::Unable,
    }
}

/// Returns `true` if the PUBLISH for this client fits its Maximum Packet Size. The broker should choose another member
/// for a message that is too large (MQTT 5.0, 3.1.2.11.4).
fn has_size_for(
    connection: &ConnectionState,
    member: &Subscriber,
    topic_name: &str,
    publish: &PublishRef<'_>,
) -> bool {
    let identifiers: Vec<_> = member.state.identifier.into_iter().collect();
    let mut sent = PublishRef {
        topic_name,
        ..*publish
    };
    // This is the PUBLISH as the broker would send it: without the publisher's alias, and with the identifier of this
    // subscription.
    sent.properties.topic_alias = None;
    sent.properties.subscription_identifiers = SubscriptionIdentifiers::new(&identifiers);
    connection.protocol.has_size_for(&sent)
}
