//! The tables of the store: where a record goes, and how they are read again.

use std::collections::BTreeMap;
use std::ops::Range;

use mqtt_codec::{PacketIdentifier, TopicFilter};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::encoding::{Reader, Writer};
use super::{Clock, StoreError, access};
use crate::{Record, Saved, SavedClient, SavedDelivery, SubscriptionState};

/// Keys and values are bytes, and keys are in the order of their bytes. A key is a name: of a topic or a client; or
/// one of a client, U+0000, which no client identifier has, and what tells the client's entries apart.
type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Entries<'a> = Table<'a, &'static [u8], &'static [u8]>;

pub(super) const META: Definition = Definition::new("meta");
const CLIENTS: Definition = Definition::new("clients");
/// Behind the client: the topic filter.
const SUBSCRIPTIONS: Definition = Definition::new("subscriptions");
/// Behind the client: the number of the message, and which part of it this is.
const DELIVERIES: Definition = Definition::new("deliveries");
/// Behind the client: the packet identifier.
const HELD: Definition = Definition::new("held");
const RETAINED: Definition = Definition::new("retained");

/// Of a delivery: the message, until the client has it.
const MESSAGE: u8 = 0;
/// Of a delivery: the packet identifier, from when the message is sent until that is free again.
const PACKET_IDENTIFIER: u8 = 1;

/// The tables, open to be written.
pub(super) struct Tables<'a> {
    clients: Entries<'a>,
    subscriptions: Entries<'a>,
    deliveries: Entries<'a>,
    held: Entries<'a>,
    retained: Entries<'a>,
    /// For the next key.
    key: Vec<u8>,
}

#[expect(clippy::result_large_err)] // boxed where it leaves the store
impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            clients: transaction.open_table(CLIENTS)?,
            subscriptions: transaction.open_table(SUBSCRIPTIONS)?,
            deliveries: transaction.open_table(DELIVERIES)?,
            held: transaction.open_table(HELD)?,
            retained: transaction.open_table(RETAINED)?,
            key: Vec::new(),
        })
    }

    pub(super) fn apply(&mut self, record: &Record, clock: Clock) -> Result<(), redb::Error> {
        let writer = Writer::new(clock);
        match record {
            Record::Client { client, state } => {
                let value = writer.client(state);
                self.clients.insert(client.as_bytes(), &value[..])?;
            }
            Record::ClientGone { client } => self.remove_client(client)?,
            Record::Subscribed {
                client,
                topic_filter,
                state,
            } => {
                let key = key(&mut self.key, client, topic_filter.as_bytes());
                let value = writer.subscription(state);
                self.subscriptions.insert(key, &value[..])?;
            }
            Record::Unsubscribed {
                client,
                topic_filter,
            } => {
                let key = key(&mut self.key, client, topic_filter.as_bytes());
                self.subscriptions.remove(key)?;
            }
            Record::Queued {
                client,
                number,
                outgoing,
            } => self.insert(client, *number, MESSAGE, &writer.outgoing(outgoing))?,
            Record::Sent {
                client,
                number,
                packet_identifier,
            } => {
                let value = packet_identifier.get().to_be_bytes();
                self.insert(client, *number, PACKET_IDENTIFIER, &value)?;
            }
            Record::Released { client, number } => {
                self.remove(client, *number, MESSAGE)?;
            }
            Record::Finished { client, number } => {
                self.remove(client, *number, MESSAGE)?;
                self.remove(client, *number, PACKET_IDENTIFIER)?;
            }
            Record::Held {
                client,
                packet_identifier,
            } => {
                let identifier = packet_identifier.get().to_be_bytes();
                self.held
                    .insert(key(&mut self.key, client, &identifier), &[][..])?;
            }
            Record::Unheld {
                client,
                packet_identifier,
            } => {
                let identifier = packet_identifier.get().to_be_bytes();
                self.held.remove(key(&mut self.key, client, &identifier))?;
            }
            Record::Retained {
                topic_name,
                retained: Some(retained),
            } => {
                let value = writer.retained(retained);
                self.retained.insert(topic_name.as_bytes(), &value[..])?;
            }
            Record::Retained {
                topic_name,
                retained: None,
            } => {
                self.retained.remove(topic_name.as_bytes())?;
            }
        }
        Ok(())
    }

    fn insert(
        &mut self,
        client: &str,
        number: u64,
        part: u8,
        value: &[u8],
    ) -> Result<(), redb::Error> {
        let key = delivery_key(&mut self.key, client, number, part);
        self.deliveries.insert(key, value)?;
        Ok(())
    }

    fn remove(&mut self, client: &str, number: u64, part: u8) -> Result<(), redb::Error> {
        let key = delivery_key(&mut self.key, client, number, part);
        self.deliveries.remove(key)?;
        Ok(())
    }

    fn remove_client(&mut self, client: &str) -> Result<(), redb::Error> {
        let range = range(client);
        let range = &*range.start..&*range.end;
        self.clients.remove(client.as_bytes())?;
        for table in [
            &mut self.subscriptions,
            &mut self.deliveries,
            &mut self.held,
        ] {
            table.retain_in(range.clone(), |_, _| false)?;
        }
        Ok(())
    }
}

/// The key of something of a client.
fn key<'a>(key: &'a mut Vec<u8>, client: &str, of_client: &[u8]) -> &'a [u8] {
    key.clear();
    key.extend_from_slice(client.as_bytes());
    key.push(0);
    key.extend_from_slice(of_client);
    key
}

fn delivery_key<'a>(buffer: &'a mut Vec<u8>, client: &str, number: u64, part: u8) -> &'a [u8] {
    key(buffer, client, &[]);
    buffer.extend_from_slice(&number.to_be_bytes());
    buffer.push(part);
    buffer
}

/// From the first possible key of a client to the first one behind.
fn range(client: &str) -> Range<Vec<u8>> {
    let [start, end] = [0, 1].map(|end| [client.as_bytes(), &[end]].concat());
    start..end
}

/// Everything that is stored.
pub(super) fn load(transaction: &ReadTransaction, clock: Clock) -> Result<Saved, StoreError> {
    let mut saved = Saved::default();
    each(transaction, CLIENTS, None, |identifier, value| {
        let identifier = text(identifier, StoreError::Damaged("a client identifier"))?;
        saved.clients.push(SavedClient {
            state: Reader::new(value, clock).client()?,
            subscriptions: subscriptions(transaction, identifier, clock)?,
            deliveries: deliveries(transaction, identifier, clock)?,
            held: held(transaction, identifier)?,
            identifier: identifier.to_owned(),
        });
        Ok(())
    })?;
    each(transaction, RETAINED, None, |_, value| {
        saved.retained.push(Reader::new(value, clock).retained()?);
        Ok(())
    })?;
    Ok(saved)
}

fn subscriptions(
    transaction: &ReadTransaction,
    client: &str,
    clock: Clock,
) -> Result<Vec<(TopicFilter, SubscriptionState)>, StoreError> {
    const DAMAGED: StoreError = StoreError::Damaged("a topic filter");
    let mut found = Vec::new();
    each(transaction, SUBSCRIPTIONS, Some(client), |key, value| {
        let topic_filter = TopicFilter::new(text(key, DAMAGED)?).map_err(|_| DAMAGED)?;
        found.push((topic_filter, Reader::new(value, clock).subscription()?));
        Ok(())
    })?;
    Ok(found)
}

fn deliveries(
    transaction: &ReadTransaction,
    client: &str,
    clock: Clock,
) -> Result<Vec<SavedDelivery>, StoreError> {
    let mut found = BTreeMap::new();
    each(transaction, DELIVERIES, Some(client), |key, value| {
        let (number, part) = match key.split_first_chunk() {
            Some((number, [part])) => (u64::from_be_bytes(*number), *part),
            _ => return Err(StoreError::Damaged("the number of a message")),
        };
        let delivery = found.entry(number).or_insert(SavedDelivery {
            number,
            outgoing: None,
            sent: None,
        });
        match part {
            MESSAGE => delivery.outgoing = Some(Reader::new(value, clock).outgoing()?),
            PACKET_IDENTIFIER => delivery.sent = Some(identifier(value)?),
            _ => return Err(StoreError::Damaged("a part of a message")),
        }
        Ok(())
    })?;
    Ok(found.into_values().collect())
}

fn held(transaction: &ReadTransaction, client: &str) -> Result<Vec<PacketIdentifier>, StoreError> {
    let mut found = Vec::new();
    each(transaction, HELD, Some(client), |key, _| {
        found.push(identifier(key)?);
        Ok(())
    })?;
    Ok(found)
}

/// Shows all entries, or those of a client without it, in order: key and value.
fn each(
    transaction: &ReadTransaction,
    table: Definition,
    client: Option<&str>,
    mut show: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let table = transaction.open_table(table).map_err(access)?;
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
        .ok_or(StoreError::Damaged("a packet identifier"))
}

fn text(bytes: &[u8], damaged: StoreError) -> Result<&str, StoreError> {
    std::str::from_utf8(bytes).map_err(|_| damaged)
}
