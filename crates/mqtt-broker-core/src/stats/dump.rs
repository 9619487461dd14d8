//! [`Dump`]: logs all subscriptions and retained messages, when an administrator sends SIGUSR2.
//!
//! A broker may have millions of them, so each turn logs a limited number of lines. If subscriptions change during the
//! dump, each line has the state at the time of that line. The list of retained messages is made after the last
//! subscription was logged.

use std::ops::Bound;
use std::sync::Arc;

use mqtt_codec::TopicFilter;
use mqtt_session::Excerpt;

use crate::log_lines::targets::EVENTS;
use crate::sessions::state::Sessions;
use crate::topics::retained::Retained;
use crate::topics::state::Topics;

/// Maximum number of lines that are logged in one turn.
const LINES_PER_TURN: usize = 500;

/// The progress of a dump.
#[derive(Debug)]
pub(crate) enum Dump {
    /// The client whose subscriptions are being logged, and its topic filters that are left, in reverse order. The
    /// client is `None` before the first one.
    Subscriptions(Option<Arc<str>>, Vec<TopicFilter>),
    /// The retained messages that are left.
    Retained(std::vec::IntoIter<Retained>),
}

/// Logs the next [`LINES_PER_TURN`] lines of the dump. Returns `true` if more lines are left.
pub(crate) fn poll_dump(sessions: &Sessions, topics: &Topics, dump: &mut Option<Dump>) -> bool {
    for _ in 0..LINES_PER_TURN {
        *dump = match dump.take() {
            Some(Dump::Subscriptions(client, filters)) => {
                Some(dump_subscription(sessions, topics, client, filters))
            }
            Some(Dump::Retained(left)) => dump_retained(left),
            None => return false,
        };
    }
    dump.is_some()
}

/// Logs the next subscription, or advances to the next client, or from the last client to the retained messages.
fn dump_subscription(
    sessions: &Sessions,
    topics: &Topics,
    client: Option<Arc<str>>,
    mut filters: Vec<TopicFilter>,
) -> Dump {
    if let (Some(client), Some(filter)) = (&client, filters.pop()) {
        let key = sessions.by_identifier.get(client);
        let state = key
            .and_then(|key| sessions.clients.get(*key))
            .and_then(|client| client.subscriptions.get(&filter));
        if let Some(state) = state {
            let (filter, client, qos) = (Excerpt(&filter), Excerpt(client), state.options.qos);
            log::info!(target: EVENTS, "\t{filter}: {client} (QoS {qos})");
        }
        return Dump::Subscriptions(Some(Arc::clone(client)), filters);
    }
    let behind = client.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut clients = sessions
        .by_identifier
        .range::<str, _>((behind, Bound::Unbounded));
    match clients.next() {
        Some((identifier, key)) => {
            let client = sessions.clients.get(*key);
            let subscriptions = client.map(|client| client.subscriptions.keys());
            let mut filters: Vec<_> = subscriptions.into_iter().flatten().cloned().collect();
            // The order is reversed, because `pop` takes the filters from the end.
            filters.sort_unstable_by(|one, other| other.cmp(one));
            Dump::Subscriptions(Some(Arc::clone(identifier)), filters)
        }
        None => {
            log::info!(target: EVENTS, "Retained messages:");
            let mut retained = Vec::new();
            topics
                .retained
                .each(|message| retained.push(message.clone()));
            Dump::Retained(retained.into_iter())
        }
    }
}

/// Logs the next retained message. Returns `None` if no message is left.
fn dump_retained(mut left: std::vec::IntoIter<Retained>) -> Option<Dump> {
    let Some(retained) = left.next() else {
        log::info!(target: EVENTS, "End of subscription tree and retained messages.");
        return None;
    };
    let (message, qos) = (&retained.message, retained.qos);
    let topic_name = Excerpt(&message.topic_name);
    let length = message.payload.len();
    log::info!(target: EVENTS, "\t{topic_name} (QoS {qos}, {length} bytes)");
    Some(Dump::Retained(left))
}
