//! The tables of the store, and the changes that each mutation makes in them. `loading.rs` reads the tables, and
//! `encoding.rs` describes the values.
//!
//! All entries of one kind are in one table, and the entries of a client are neighbours, so that a client is removed
//! with one range. Each change also updates the totals in [`Summary`], because the size of the store is checked in each
//! turn.

use super::clock::Timeline;
use super::encoding::{Writer, shared_number};
use super::messages::{self, Receivers, SharedMessages};
use mqtt_broker_core::Mutation;
use mqtt_session::OutboundMessage;
use redb::{ReadableTable, Table, TableDefinition, TableHandle, WriteTransaction};
use std::ops::Range;

/// A table with keys and values of bytes, in the order of the keys.
///
/// Keys are bytes and not `&str`, because redb would check a `&str` for valid UTF-8 at each comparison. A key is a
/// topic name, a client identifier, or a client identifier followed by U+0000 and a suffix. A client identifier cannot
/// contain U+0000 [MQTT-1.5.4-2].
pub(super) type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;

type Entries<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// The format and the time anchor, by their names.
pub(super) const META: Definition = Definition::new("meta");

/// The states of clients. The key is the client identifier.
pub(super) const CLIENTS: Definition = Definition::new("clients");

/// The subscriptions. The suffix of the key is the topic filter.
pub(super) const SUBSCRIPTIONS: Definition = Definition::new("subscriptions");

/// The replays of retained messages that have not ended. The suffix of the key is the topic filter of the subscription.
pub(super) const REPLAYS: Definition = Definition::new("replays");

/// The messages for clients. The suffix of the key is the number of the message and the byte of the part.
pub(super) const DELIVERIES: Definition = Definition::new("deliveries");

/// The packet identifiers of received messages of QoS 2 whose PUBREL has not arrived. The suffix of the key is the packet identifier.
pub(super) const HELD: Definition = Definition::new("held");

/// The retained messages. The key is the topic name.
pub(super) const RETAINED: Definition = Definition::new("retained");

/// The shared messages. The key is the number to which deliveries refer.
pub(super) const MESSAGES: Definition = Definition::new("messages");

/// The part of a delivery that contains the message or its number. It is removed when the client has received the
/// message.
pub(super) const MESSAGE: u8 = 0;

/// The part of a delivery that contains the packet identifier. It exists from the sending of the message until the
/// packet identifier is free again.
pub(super) const PACKET_IDENTIFIER: u8 = 1;

/// Totals of the tables, in memory, so that no table must be read for them.
#[derive(Debug, Default)]
pub(super) struct Summary {
    /// The bytes of all keys and values.
    pub(super) bytes: u64,
    /// The shared messages and the number of their deliveries.
    pub(super) shared: SharedMessages,
}

/// The tables, opened for writing in one transaction.
pub(super) struct Tables<'a> {
    clients: Entries<'a>,
    subscriptions: Entries<'a>,
    replays: Entries<'a>,
    deliveries: Entries<'a>,
    held: Entries<'a>,
    retained: Entries<'a>,
    messages: Entries<'a>,
    summary: &'a mut Summary,
    /// A buffer for keys, so that a key is made without an allocation.
    key: Vec<u8>,
}

#[expect(clippy::result_large_err)] // boxed where it leaves the store
impl<'a> Tables<'a> {
    /// Opens the tables, and creates those that do not exist.
    pub(super) fn open(
        transaction: &'a WriteTransaction,
        summary: &'a mut Summary,
    ) -> Result<Self, redb::Error> {
        Ok(Self {
            clients: transaction.open_table(CLIENTS)?,
            subscriptions: transaction.open_table(SUBSCRIPTIONS)?,
            replays: transaction.open_table(REPLAYS)?,
            deliveries: transaction.open_table(DELIVERIES)?,
            held: transaction.open_table(HELD)?,
            retained: transaction.open_table(RETAINED)?,
            messages: transaction.open_table(MESSAGES)?,
            summary,
            key: Vec::new(),
        })
    }

    /// Computes the summary by reading all tables, when the store is opened.
    pub(super) fn summarize(&mut self) -> Result<(), redb::Error> {
        *self.summary = Summary::default();
        let Summary { bytes, shared } = &mut *self.summary;
        for table in [
            &self.clients,
            &self.subscriptions,
            &self.replays,
            &self.held,
            &self.retained,
        ] {
            for entry in table.iter()? {
                let (key, value) = entry?;
                *bytes += size(key.value(), value.value());
            }
        }
        for entry in self.messages.iter()? {
            let (key, value) = entry?;
            *bytes += size(key.value(), value.value());
            // A key of another length is corruption, which `load` reports.
            if let Ok(number) = key.value().try_into() {
                shared.found(u64::from_be_bytes(number));
            }
        }
        for entry in self.deliveries.iter()? {
            let (key, value) = entry?;
            *bytes += size(key.value(), value.value());
            if let Some(number) = of_message(key.value(), value.value()) {
                shared.refer(number);
            }
        }
        Ok(())
    }

    /// Applies the mutations of one commit in their order.
    pub(super) fn apply(
        &mut self,
        mutations: &[Mutation],
        timeline: Timeline,
    ) -> Result<(), redb::Error> {
        // A message with several deliveries is stored once. The deliveries of the whole commit are counted first, so
        // that the first of them already refers to the shared message.
        let receivers = messages::receivers(mutations);
        mutations
            .iter()
            .try_for_each(|mutation| self.apply_one(mutation, &receivers, timeline))
    }

    /// Applies one mutation.
    fn apply_one(
        &mut self,
        mutation: &Mutation,
        receivers: &Receivers,
        timeline: Timeline,
    ) -> Result<(), redb::Error> {
        let writer = Writer::new(timeline);
        let bytes = &mut self.summary.bytes;
        match mutation {
            Mutation::Client { client, state } => {
                let value = writer.client(state);
                insert(&mut self.clients, bytes, client.as_bytes(), &value)
            }
            Mutation::ClientRemoved { client } => self.remove_client(client),
            Mutation::Subscribed {
                client,
                topic_filter,
                state,
            } => {
                let key = key(&mut self.key, client, topic_filter.as_bytes());
                let value = writer.subscription(state);
                insert(&mut self.subscriptions, bytes, key, &value)
            }
            Mutation::Unsubscribed {
                client,
                topic_filter,
            } => {
                let key = key(&mut self.key, client, topic_filter.as_bytes());
                remove(&mut self.subscriptions, bytes, key)
            }
            Mutation::RetainedReplay {
                client,
                topic_filter,
                state,
            } => {
                let key = key(&mut self.key, client, topic_filter.as_bytes());
                match state {
                    Some(state) => insert(&mut self.replays, bytes, key, &writer.replay(state)),
                    None => remove(&mut self.replays, bytes, key),
                }
            }
            Mutation::Queued {
                client,
                number,
                outgoing,
            } => self.insert_delivery(client, *number, outgoing, receivers, timeline),
            Mutation::Sent {
                client,
                number,
                packet_identifier,
            } => {
                let key = delivery_key(&mut self.key, client, *number, PACKET_IDENTIFIER);
                let value = packet_identifier.get().to_be_bytes();
                insert(&mut self.deliveries, bytes, key, &value)
            }
            Mutation::Released { client, number } => self.remove_delivery(client, *number),
            Mutation::Finished { client, number } => {
                // Either entry may be missing: `Released` has already removed a message of QoS 2, and a dropped message
                // has no packet identifier.
                let key = delivery_key(&mut self.key, client, *number, PACKET_IDENTIFIER);
                remove(&mut self.deliveries, bytes, key)?;
                self.remove_delivery(client, *number)
            }
            Mutation::Held {
                client,
                packet_identifier,
            } => {
                let identifier = packet_identifier.get().to_be_bytes();
                let key = key(&mut self.key, client, &identifier);
                insert(&mut self.held, bytes, key, &[])
            }
            Mutation::Unheld {
                client,
                packet_identifier,
            } => {
                let identifier = packet_identifier.get().to_be_bytes();
                let key = key(&mut self.key, client, &identifier);
                remove(&mut self.held, bytes, key)
            }
            Mutation::Retained {
                topic_name,
                retained,
            } => {
                let key = topic_name.as_bytes();
                match retained {
                    Some(retained) => {
                        insert(&mut self.retained, bytes, key, &writer.retained(retained))
                    }
                    None => remove(&mut self.retained, bytes, key),
                }
            }
        }
    }

    /// Inserts a delivery of a message. The delivery contains the message, or refers to a shared message.
    fn insert_delivery(
        &mut self,
        client: &str,
        number: u64,
        outgoing: &OutboundMessage,
        receivers: &Receivers,
        timeline: Timeline,
    ) -> Result<(), redb::Error> {
        let writer = || Writer::new(timeline);
        let Summary { bytes, shared } = &mut *self.summary;
        let message = &outgoing.message;
        let mut reference = shared.number_of(message);
        if reference.is_none() {
            reference = shared.share(message, receivers);
            if let Some(reference) = reference {
                let (key, value) = (reference.to_be_bytes(), writer().shared_message(message));
                insert(&mut self.messages, bytes, &key, &value)?;
            }
        }
        let value = match reference {
            Some(reference) => writer().shared_delivery(outgoing, reference),
            None => writer().inline_delivery(outgoing),
        };
        let key = delivery_key(&mut self.key, client, number, MESSAGE);
        *bytes += size(key, &value);
        // The new reference is counted before the older delivery is released. If both refer to the same message, its
        // count must not reach zero in between.
        if let Some(reference) = reference {
            shared.refer(reference);
        }
        // The delivery may exist already: after a full disk, a commit is repeated, and the file may have a part of it.
        let before = self.deliveries.insert(key, &value[..])?;
        let before = before.map(|value| (size(key, value.value()), shared_number(value.value())));
        self.forget_delivery(before)
    }

    /// Removes the message of a delivery, but not its packet identifier.
    fn remove_delivery(&mut self, client: &str, number: u64) -> Result<(), redb::Error> {
        let key = delivery_key(&mut self.key, client, number, MESSAGE);
        let before = self.deliveries.remove(key)?;
        let before = before.map(|value| (size(key, value.value()), shared_number(value.value())));
        self.forget_delivery(before)
    }

    /// Updates the summary after a delivery was removed or replaced. `gone` has the bytes that leave the summary, and the
    /// number of the shared message of the delivery. Removes the shared message after its last delivery.
    fn forget_delivery(&mut self, gone: Option<(u64, Option<u64>)>) -> Result<(), redb::Error> {
        let Some((size, reference)) = gone else {
            return Ok(());
        };
        let Summary { bytes, shared } = &mut *self.summary;
        *bytes = bytes.saturating_sub(size);
        // The shared message is removed in the same commit as its last delivery.
        match reference {
            Some(number) if shared.release(number) => {
                remove(&mut self.messages, bytes, &number.to_be_bytes())
            }
            _ => Ok(()),
        }
    }

    /// Removes a client with all its entries.
    fn remove_client(&mut self, client: &str) -> Result<(), redb::Error> {
        // All entries of the client are neighbours in each table.
        let range = range(client);
        let range = &*range.start..&*range.end;
        let bytes = &mut self.summary.bytes;
        remove(&mut self.clients, bytes, client.as_bytes())?;
        let mut released = Vec::new();
        for table in [
            &mut self.subscriptions,
            &mut self.replays,
            &mut self.deliveries,
            &mut self.held,
        ] {
            let is_deliveries = table.name() == DELIVERIES.name();
            table.retain_in(range.clone(), |key, value| {
                *bytes = bytes.saturating_sub(size(key, value));
                released.extend(of_message(key, value).filter(|_| is_deliveries));
                false
            })?;
        }
        for number in released {
            self.forget_delivery(Some((0, Some(number))))?;
        }
        Ok(())
    }
}

/// Inserts a value or replaces it, and counts its bytes.
#[expect(clippy::result_large_err)] // boxed where it leaves the store
fn insert(
    table: &mut Entries<'_>,
    bytes: &mut u64,
    key: &[u8],
    value: &[u8],
) -> Result<(), redb::Error> {
    let before = table.insert(key, value)?;
    let before = before.map_or(0, |before| size(key, before.value()));
    *bytes = (*bytes + size(key, value)).saturating_sub(before);
    Ok(())
}

/// Removes an entry if it exists, and subtracts its bytes.
#[expect(clippy::result_large_err)] // boxed where it leaves the store
fn remove(table: &mut Entries<'_>, bytes: &mut u64, key: &[u8]) -> Result<(), redb::Error> {
    let before = table.remove(key)?;
    let before = before.map_or(0, |before| size(key, before.value()));
    *bytes = bytes.saturating_sub(before);
    Ok(())
}

fn size(key: &[u8], value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64
}

/// Returns the number of the shared message that an entry of the table of deliveries refers to.
fn of_message(key: &[u8], value: &[u8]) -> Option<u64> {
    match key.last() {
        Some(&MESSAGE) => shared_number(value),
        _ => None,
    }
}

/// Makes the key of an entry of a client, with the suffix `of_client`, in the buffer `key`.
fn key<'a>(key: &'a mut Vec<u8>, client: &str, of_client: &[u8]) -> &'a [u8] {
    key.clear();
    key.extend_from_slice(client.as_bytes());
    key.push(0);
    key.extend_from_slice(of_client);
    key
}

/// Makes the key of a part of a delivery in the buffer. The number is big endian, so that the order of the keys is the
/// order of the messages.
fn delivery_key<'a>(buffer: &'a mut Vec<u8>, client: &str, number: u64, part: u8) -> &'a [u8] {
    key(buffer, client, &[]);
    buffer.extend_from_slice(&number.to_be_bytes());
    buffer.push(part);
    buffer
}

/// Returns the range of all keys of a client that have a suffix. It starts at the client identifier with U+0000 and ends
/// before the client identifier with U+0001.
pub(super) fn range(client: &str) -> Range<Vec<u8>> {
    let [start, end] = [0, 1].map(|end| [client.as_bytes(), &[end]].concat());
    start..end
}
