//! The tables of the store: where a record goes, and how they are read again.

use std::collections::BTreeMap;

use mqtt_codec::{PacketIdentifier, TopicFilter};
use redb::{ReadTransaction, ReadableTable, Table, TableDefinition, WriteTransaction};

use super::encoding::{Reader, Writer};
use super::{Clock, StoreError, access};
use crate::{Record, Saved, SavedClient, SavedDelivery, SubscriptionState};

type Name = &'static str;
type Bytes = &'static [u8];

pub(super) const META: TableDefinition<'_, Name, u64> = TableDefinition::new("meta");
const CLIENTS: TableDefinition<'_, Name, Bytes> = TableDefinition::new("clients");
const SUBSCRIPTIONS: TableDefinition<'_, (Name, Name), Bytes> =
    TableDefinition::new("subscriptions");
const MESSAGES: TableDefinition<'_, (Name, u64), Bytes> = TableDefinition::new("messages");
/// Messages that were sent: their identifiers.
const SENT: TableDefinition<'_, (Name, u64), u16> = TableDefinition::new("sent");
const HELD: TableDefinition<'_, (Name, u16), ()> = TableDefinition::new("held");
const RETAINED: TableDefinition<'_, Name, Bytes> = TableDefinition::new("retained");

/// The tables, open to be written.
pub(super) struct Tables<'a> {
    clients: Table<'a, Name, Bytes>,
    subscriptions: Table<'a, (Name, Name), Bytes>,
    messages: Table<'a, (Name, u64), Bytes>,
    sent: Table<'a, (Name, u64), u16>,
    held: Table<'a, (Name, u16), ()>,
    retained: Table<'a, Name, Bytes>,
}

#[expect(clippy::result_large_err)] // boxed where it leaves the store
impl<'a> Tables<'a> {
    pub(super) fn open(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            clients: transaction.open_table(CLIENTS)?,
            subscriptions: transaction.open_table(SUBSCRIPTIONS)?,
            messages: transaction.open_table(MESSAGES)?,
            sent: transaction.open_table(SENT)?,
            held: transaction.open_table(HELD)?,
            retained: transaction.open_table(RETAINED)?,
        })
    }

    pub(super) fn apply(&mut self, record: &Record, clock: Clock) -> Result<(), redb::Error> {
        let writer = Writer::new(clock);
        match record {
            Record::Client { client, state } => {
                self.clients.insert(&**client, &writer.client(state)[..])?;
            }
            Record::ClientGone { client } => self.remove_client(client)?,
            Record::Subscribed {
                client,
                topic_filter,
                state,
            } => {
                let value = writer.subscription(state);
                self.subscriptions
                    .insert((&**client, &**topic_filter), &value[..])?;
            }
            Record::Unsubscribed {
                client,
                topic_filter,
            } => {
                self.subscriptions.remove((&**client, &**topic_filter))?;
            }
            Record::Queued {
                client,
                number,
                outgoing,
            } => {
                let value = writer.outgoing(outgoing);
                self.messages.insert((&**client, *number), &value[..])?;
            }
            Record::Sent {
                client,
                number,
                packet_identifier,
            } => {
                self.sent
                    .insert((&**client, *number), packet_identifier.get())?;
            }
            Record::Released { client, number } => {
                self.messages.remove((&**client, *number))?;
            }
            Record::Finished { client, number } => {
                self.messages.remove((&**client, *number))?;
                self.sent.remove((&**client, *number))?;
            }
            Record::Held {
                client,
                packet_identifier,
            } => {
                self.held.insert((&**client, packet_identifier.get()), ())?;
            }
            Record::Unheld {
                client,
                packet_identifier,
            } => {
                self.held.remove((&**client, packet_identifier.get()))?;
            }
            Record::Retained {
                topic_name,
                retained: Some(retained),
            } => {
                self.retained
                    .insert(&**topic_name, &writer.retained(retained)[..])?;
            }
            Record::Retained {
                topic_name,
                retained: None,
            } => {
                self.retained.remove(&**topic_name)?;
            }
        }
        Ok(())
    }

    fn remove_client(&mut self, client: &str) -> Result<(), redb::Error> {
        let behind = &*behind(client);
        self.clients.remove(client)?;
        self.subscriptions
            .retain_in((client, "")..(behind, ""), |_, _| false)?;
        self.messages
            .retain_in((client, 0)..(behind, 0), |_, _| false)?;
        self.sent
            .retain_in((client, 0)..(behind, 0), |_, _| false)?;
        self.held
            .retain_in((client, 0)..(behind, 0), |_, _| false)?;
        Ok(())
    }
}

/// The first key behind all keys of a client: no client identifier has a U+0000.
fn behind(client: &str) -> String {
    format!("{client}\0")
}

/// Everything that is stored.
pub(super) fn load(transaction: &ReadTransaction, clock: Clock) -> Result<Saved, StoreError> {
    let clients = transaction.open_table(CLIENTS).map_err(access)?;
    let retained = transaction.open_table(RETAINED).map_err(access)?;
    let mut saved = Saved::default();
    for entry in clients.iter().map_err(access)? {
        let (identifier, value) = entry.map_err(access)?;
        let identifier = identifier.value().to_owned();
        let state = Reader::new(value.value(), clock).client()?;
        saved.clients.push(SavedClient {
            subscriptions: subscriptions(transaction, &identifier, clock)?,
            deliveries: deliveries(transaction, &identifier, clock)?,
            held: held(transaction, &identifier)?,
            identifier,
            state,
        });
    }
    for entry in retained.iter().map_err(access)? {
        let (_, value) = entry.map_err(access)?;
        let retained = Reader::new(value.value(), clock).retained()?;
        saved.retained.push(retained);
    }
    Ok(saved)
}

fn subscriptions(
    transaction: &ReadTransaction,
    client: &str,
    clock: Clock,
) -> Result<Vec<(TopicFilter, SubscriptionState)>, StoreError> {
    let table = transaction.open_table(SUBSCRIPTIONS).map_err(access)?;
    let behind = &*behind(client);
    let mut found = Vec::new();
    for entry in table.range((client, "")..(behind, "")).map_err(access)? {
        let (key, value) = entry.map_err(access)?;
        let topic_filter = TopicFilter::new(key.value().1);
        let topic_filter = topic_filter.map_err(|_| StoreError::Damaged("a topic filter"))?;
        let state = Reader::new(value.value(), clock).subscription()?;
        found.push((topic_filter, state));
    }
    Ok(found)
}

fn deliveries(
    transaction: &ReadTransaction,
    client: &str,
    clock: Clock,
) -> Result<Vec<SavedDelivery>, StoreError> {
    let messages = transaction.open_table(MESSAGES).map_err(access)?;
    let sent = transaction.open_table(SENT).map_err(access)?;
    let behind = &*behind(client);
    let mut found = BTreeMap::new();
    for entry in messages.range((client, 0)..(behind, 0)).map_err(access)? {
        let (key, value) = entry.map_err(access)?;
        let number = key.value().1;
        let outgoing = Some(Reader::new(value.value(), clock).outgoing()?);
        let sent = None;
        found.insert(
            number,
            SavedDelivery {
                number,
                outgoing,
                sent,
            },
        );
    }
    for entry in sent.range((client, 0)..(behind, 0)).map_err(access)? {
        let (key, value) = entry.map_err(access)?;
        let number = key.value().1;
        let released = SavedDelivery {
            number,
            outgoing: None,
            sent: None,
        };
        let delivery = found.entry(number).or_insert(released);
        delivery.sent = Some(identifier(value.value())?);
    }
    Ok(found.into_values().collect())
}

fn held(transaction: &ReadTransaction, client: &str) -> Result<Vec<PacketIdentifier>, StoreError> {
    let table = transaction.open_table(HELD).map_err(access)?;
    let behind = &*behind(client);
    let mut found = Vec::new();
    for entry in table.range((client, 0)..(behind, 0)).map_err(access)? {
        let (key, _) = entry.map_err(access)?;
        found.push(identifier(key.value().1)?);
    }
    Ok(found)
}

fn identifier(value: u16) -> Result<PacketIdentifier, StoreError> {
    PacketIdentifier::new(value).ok_or(StoreError::Damaged("a packet identifier"))
}
