//! Checks the stored state before the broker uses it. The store detects corruption by checksums. A file that was edited
//! on purpose has valid checksums, but may have topics that the broker would have rejected from a client.

use crate::auth::Auth;
use crate::durability::Durability;
use crate::durability::mutation::Mutation;
use crate::durability::snapshot::Snapshot;
use crate::log_lines::EVENTS;

/// Removes retained messages, subscriptions and wills whose topic has more levels than a client may use, from `saved`
/// and from the store. The broker relies on this limit for the cost of matching a topic.
pub(crate) fn drop_too_deep(auth: &Auth, durability: &mut Durability, saved: &mut Snapshot) {
    let limit = auth.most_levels();
    let is_deep = |topic: &str| mqtt_codec::levels(topic).take(limit + 1).count() > limit;
    let mut removed = Vec::new();
    saved.retained.retain(|retained| {
        let topic_name = &retained.message.topic_name;
        let is_deep = is_deep(topic_name);
        if is_deep {
            removed.push(Mutation::Retained {
                topic_name: topic_name.clone(),
                retained: None,
            });
        }
        !is_deep
    });
    for client in &mut saved.clients {
        client.subscriptions.retain(|(topic_filter, _)| {
            let is_deep = is_deep(topic_filter);
            if is_deep {
                removed.push(Mutation::Unsubscribed {
                    client: client.identifier.as_str().into(),
                    topic_filter: topic_filter.clone(),
                });
            }
            !is_deep
        });
        let will = &mut client.state.will;
        if will
            .take_if(|will| is_deep(&will.message.topic_name))
            .is_some()
        {
            client.state.will_due = None;
            removed.push(Mutation::Client {
                client: client.identifier.as_str().into(),
                state: client.state.clone(),
            });
        }
    }
    if !removed.is_empty() {
        log::warn!(
            target: EVENTS,
            "{} retained messages, subscriptions and wills are removed from the store, because their topics have more than \
             {limit} levels.",
            removed.len()
        );
    }
    if let Some(mutations) = &mut durability.mutations {
        mutations.append(&mut removed);
    }
}
