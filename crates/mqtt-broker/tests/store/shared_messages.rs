//! Tests of messages that wait for several clients and are stored once.

use std::path::Path;
use std::sync::Arc;

use mqtt_broker::{Clock, Store, SyncPolicy};
use mqtt_broker_core::{Mutation, Snapshot};
use redb::TableDefinition;

use crate::mutations::{finished, message, queued, sessions};

/// Returns the number of entries of a table.
fn entries(path: &Path, table: &str) -> u64 {
    let database = redb::Database::open(path).unwrap();
    let transaction = database.begin_read().unwrap();
    let table = TableDefinition::<&[u8], &[u8]>::new(table);
    let table = transaction.open_table(table).unwrap();
    redb::ReadableTableMetadata::len(&table).unwrap()
}

#[test]
fn a_message_for_many_clients_is_stored_once_and_shared_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let (large, small) = (message(2_000_000), message(10));
    let mut mutations = sessions(0..200);
    mutations.extend(queued(&large, 1, 0..100));
    mutations.extend(queued(&small, 2, 0..2));
    store.commit(&mutations, Clock::now()).unwrap();
    // The message is queued for the other clients in a second commit.
    let mutations = queued(&large, 1, 100..200);
    store.commit(&mutations, Clock::now()).unwrap();
    drop(store);
    assert_eq!(entries(&path, "messages"), 1, "only a large one is shared");
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < 20_000_000, "{length}");

    let store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let clients = store.load(Clock::now()).unwrap().clients;
    let deliveries = clients.iter().map(|client| &client.deliveries[0]);
    let found: Vec<_> = deliveries.filter_map(|d| d.outgoing.as_ref()).collect();
    assert_eq!(found.len(), 200);
    for (outgoing, client) in found.iter().zip(&clients) {
        assert!(Arc::ptr_eq(&outgoing.message, &found[0].message));
        assert_eq!(outgoing.message, large);
        let number: u32 = client.identifier["client".len()..].parse().unwrap();
        assert_eq!(outgoing.subscription_identifiers()[0].get(), number + 1);
        assert_eq!(outgoing.retain, number % 2 == 0);
        assert_eq!(outgoing.share().is_some(), number % 3 == 0);
    }
}

#[test]
fn shared_message_is_deleted_with_its_last_delivery() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let open = || Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    let commit = |mutations: &[Mutation]| open().commit(mutations, Clock::now()).unwrap();
    let (first, second) = (message(5000), message(6000));
    let mut mutations = sessions(0..20);
    mutations.extend(queued(&first, 1, 0..20));
    mutations.extend(queued(&second, 2, 0..20));
    commit(&mutations);
    // The same mutations are committed again, as after a full disk, when the file may have them or not.
    commit(&mutations);
    assert_eq!(entries(&path, "messages"), 2);
    commit(&finished(1, 0..19));
    commit(&[Mutation::Released {
        client: "client0".into(),
        number: 2,
    }]);
    assert_eq!(entries(&path, "messages"), 2);
    commit(&finished(1, 19..20));
    assert_eq!(entries(&path, "messages"), 1, "the first one is gone");
    // The end of a session removes its deliveries, which must count too.
    let gone = (0..20).map(|client| Mutation::ClientRemoved {
        client: format!("client{client}").into(),
    });
    commit(&gone.collect::<Vec<_>>());
    assert_eq!(entries(&path, "messages"), 0);
    assert_eq!(open().load(Clock::now()).unwrap(), Snapshot::default());
}
