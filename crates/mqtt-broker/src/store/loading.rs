//! Reads the whole stored state into a [`Snapshot`] when the broker starts. An entry that cannot be decoded is an
//! error: the broker must not start with a part of its state.

use super::encoding::{Reader, Times};
use super::tables::{
    CLIENTS, DELIVERIES, Definition, HELD, MESSAGE, MESSAGES, PACKET_IDENTIFIER, REPLAYS, RETAINED,
    SUBSCRIPTIONS, range,
};
use crate::store::error::StoreError;
use crate::store::error::access;
use mqtt_broker_core::{
    ClientSnapshot, DeliverySnapshot, RetainedReplayState, Snapshot, SubscriptionState,
};
use mqtt_codec::{Message, PacketIdentifier, TopicFilter};
use redb::{ReadTransaction, ReadableTable};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The shared messages by their number. The deliveries of a shared message have the same `Arc`, so that the message is
/// in memory once.
type Messages = BTreeMap<u64, Arc<Message>>;

/// Returns the whole stored state.
///
/// # Errors
/// Returns an error if the store cannot be read, or is corrupt.
pub(super) fn load(transaction: &ReadTransaction, times: Times) -> Result<Snapshot, StoreError> {
    let mut saved = Snapshot::default();
    // The messages are read before the clients, because the deliveries of the clients refer to them.
    let messages = messages(transaction, times)?;
    each(transaction, CLIENTS, None, |identifier, value| {
        let identifier = text(
            identifier,
            StoreError::Corrupt("a client identifier is invalid"),
        )?;
        saved.clients.push(ClientSnapshot {
            state: Reader::new(value, times).client()?,
            subscriptions: subscriptions(transaction, identifier, times)?,
            retained_replays: replays(transaction, identifier, times)?,
            deliveries: deliveries(transaction, identifier, &messages, times)?,
            held: held(transaction, identifier)?,
            identifier: identifier.to_owned(),
        });
        Ok(())
    })?;
    each(transaction, RETAINED, None, |_, value| {
        saved.retained.push(Reader::new(value, times).retained()?);
        Ok(())
    })?;
    Ok(saved)
}

/// Returns the shared messages.
fn messages(transaction: &ReadTransaction, times: Times) -> Result<Messages, StoreError> {
    let mut messages = Messages::new();
    each(transaction, MESSAGES, None, |key, value| {
        let number = key.try_into().map(u64::from_be_bytes);
        let number =
            number.map_err(|_| StoreError::Corrupt("the key of a shared message is invalid"))?;
        let message = Reader::new(value, times).shared_message()?;
        messages.insert(number, Arc::new(message));
        Ok(())
    })?;
    Ok(messages)
}

/// Returns the subscriptions of a client.
fn subscriptions(
    transaction: &ReadTransaction,
    client: &str,
    times: Times,
) -> Result<Vec<(TopicFilter, SubscriptionState)>, StoreError> {
    const DAMAGED: StoreError = StoreError::Corrupt("a topic filter is invalid");
    let mut found = Vec::new();
    each(transaction, SUBSCRIPTIONS, Some(client), |key, value| {
        let topic_filter = TopicFilter::new(text(key, DAMAGED)?).map_err(|_| DAMAGED)?;
        found.push((topic_filter, Reader::new(value, times).subscription()?));
        Ok(())
    })?;
    Ok(found)
}

/// Returns the replays of a client in the order in which they began.
fn replays(
    transaction: &ReadTransaction,
    client: &str,
    times: Times,
) -> Result<Vec<(TopicFilter, RetainedReplayState)>, StoreError> {
    const DAMAGED: StoreError = StoreError::Corrupt("a topic filter is invalid");
    let mut found = Vec::new();
    each(transaction, REPLAYS, Some(client), |key, value| {
        let topic_filter = TopicFilter::new(text(key, DAMAGED)?).map_err(|_| DAMAGED)?;
        found.push((topic_filter, Reader::new(value, times).replay()?));
        Ok(())
    })?;
    // The table is in the order of the topic filters. Replays with the same number began in an unknown order.
    found.sort_by(|one, other| (one.1.number, &one.0).cmp(&(other.1.number, &other.0)));
    Ok(found)
}

/// Returns the deliveries of a client in the order of their numbers. A delivery has up to two entries in the table.
fn deliveries(
    transaction: &ReadTransaction,
    client: &str,
    messages: &Messages,
    times: Times,
) -> Result<Vec<DeliverySnapshot>, StoreError> {
    let mut found = BTreeMap::new();
    each(transaction, DELIVERIES, Some(client), |key, value| {
        let (number, part) = match key.split_first_chunk() {
            Some((number, [part])) => (u64::from_be_bytes(*number), *part),
            _ => return Err(StoreError::Corrupt("the key of a message is invalid")),
        };
        // The message and the packet identifier are separate entries, because `Sent` would otherwise write the message
        // again.
        let delivery = found.entry(number).or_insert(DeliverySnapshot {
            number,
            outgoing: None,
            sent: None,
        });
        match part {
            MESSAGE => {
                let shared = |number| messages.get(&number).cloned();
                delivery.outgoing = Some(Reader::new(value, times).delivery(shared)?);
            }
            PACKET_IDENTIFIER => delivery.sent = Some(identifier(value)?),
            _ => return Err(StoreError::Corrupt("a part of a message is invalid")),
        }
        Ok(())
    })?;
    Ok(found.into_values().collect())
}

/// Returns the packet identifiers of the messages of QoS 2 for which the client has not sent PUBREL.
fn held(transaction: &ReadTransaction, client: &str) -> Result<Vec<PacketIdentifier>, StoreError> {
    let mut found = Vec::new();
    each(transaction, HELD, Some(client), |key, _| {
        found.push(identifier(key)?);
        Ok(())
    })?;
    Ok(found)
}

/// Calls `show` with the key and the value of each entry, in the order of the keys. With a client, these are the
/// entries of this client, and the key is only the suffix after the client identifier.
fn each(
    transaction: &ReadTransaction,
    table: Definition,
    client: Option<&str>,
    mut show: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let table = transaction.open_table(table).map_err(access)?;
    // Only this range is read, and not the entries of other clients.
    let range = client.map(range);
    let entries = match &range {
        Some(range) => table.range(&*range.start..&*range.end),
        None => table.iter(),
    };
    let prefix = range.map_or(0, |range| range.start.len());
    for entry in entries.map_err(access)? {
        let (key, value) = entry.map_err(access)?;
        let of_client = key.value().get(prefix..).unwrap_or_default();
        show(of_client, value.value())?;
    }
    Ok(())
}

fn identifier(bytes: &[u8]) -> Result<PacketIdentifier, StoreError> {
    let value = bytes.try_into().ok().map(u16::from_be_bytes);
    value
        .and_then(PacketIdentifier::new)
        .ok_or(StoreError::Corrupt("a packet identifier is invalid"))
}

fn text(bytes: &[u8], damaged: StoreError) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| damaged)
}
