//! Tests of corrupt and foreign files, and of the size of the file.

use std::path::Path;
use std::time::Duration;

use mqtt_broker::{Clock, Store, StoreError, SyncPolicy};
use redb::TableDefinition;

use crate::mutations::{HOUR, System, finished, message, open, queued, retained, sessions};

#[test]
fn changed_bit_in_the_file_alters_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let mutations: Vec<_> = (0..500).map(retained).collect();
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    store.commit(&mutations, Clock::now()).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let expected = open(&path).unwrap();
    assert_eq!(expected.retained.len(), 500);
    let (mut refused, mut unharmed, mut altered) = (0, 0, Vec::new());
    // Only the used part of the file is changed. The rest of the file is zero.
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for position in (0..used).step_by(used / 97) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        std::fs::write(&path, &damaged).unwrap();
        // redb may panic on a corrupt file. rbroker then exits with the same status and text as for an error.
        let Ok(opened) = std::panic::catch_unwind(|| open(&path)) else {
            refused += 1;
            continue;
        };
        match opened {
            Ok(saved) if saved == expected => unharmed += 1,
            Ok(_) => altered.push(position),
            Err(_) => refused += 1,
        }
    }
    println!(
        "{refused} refused, {unharmed} without harm, altered {}",
        altered.len()
    );
    assert_eq!(altered, [] as [usize; 0]);
    assert!(refused > 0);
}

#[test]
fn rejects_a_store_of_another_format() {
    let folder = tempfile::tempdir().unwrap();
    let older = folder.path().join("older.db");
    let table = TableDefinition::<&str, u64>::new("meta");
    write(&older, |transaction| {
        let mut meta = transaction.open_table(table).unwrap();
        meta.insert("format", 2).unwrap();
    });
    let newer = folder.path().join("newer.db");
    let table = TableDefinition::<&[u8], &[u8]>::new("meta");
    write(&newer, |transaction| {
        let mut meta = transaction.open_table(table).unwrap();
        meta.insert(b"format".as_slice(), 1000u64.to_be_bytes().as_slice())
            .unwrap();
    });
    for path in [older, newer] {
        let error = open(&path).unwrap_err();
        assert!(
            matches!(error, StoreError::Corrupt("unknown format")),
            "{error:?}"
        );
        assert!(error.is_about_the_file());
    }
}

fn write(path: &Path, write: impl FnOnce(&redb::WriteTransaction)) {
    let database = redb::Database::create(path).unwrap();
    let transaction = database.begin_write().unwrap();
    write(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn file_shrinks_after_deletions_while_open_and_at_start() {
    // With `sync interval`, commits may not be synced yet when the file is shrunk.
    let interval = SyncPolicy::Interval(HOUR);
    for (is_reopened, policy) in [
        (false, SyncPolicy::Always),
        (true, SyncPolicy::Always),
        (false, interval),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rbroker.db");
        let mut system = System::new();
        let open = |system: &System| Store::open(&path, policy, system.clock());
        let mut store = open(&system).unwrap();
        let length = || std::fs::metadata(&path).unwrap().len();
        let small = length();
        let mut mutations = sessions(0..10);
        for number in 0..500 {
            mutations.extend(queued(&message(50_000), number, 0..10));
        }
        store.commit(&mutations, system.clock()).unwrap();
        assert!(length() > 25_000_000 && store.size() > 25_000_000);
        assert!(store.stored_bytes() < 26_000_000);
        let gone: Vec<_> = (1..500)
            .flat_map(|number| finished(number, 0..10))
            .collect();
        store.commit(&gone, system.clock()).unwrap();
        let expected = store.load(system.clock()).unwrap();
        if is_reopened {
            drop(store);
            store = open(&system).unwrap();
        } else {
            // The file is shrunk after a delay, in a commit without mutations.
            let due = store.poll_timeout().unwrap();
            assert!(due - system.now <= Duration::from_secs(10), "it is due");
            system.passes(due - system.now);
            store.commit(&[], system.clock()).unwrap();
        }
        assert!(length() < 6_000_000, "{} {small}", length());
        assert!(store.size() <= length());
        assert_eq!(store.load(system.clock()).unwrap(), expected);
        // Shrinking is not tried again before something changes.
        assert_eq!(
            store.poll_timeout(),
            Some(system.now + Duration::from_secs(60))
        );
        drop(store);
        assert_eq!(
            open(&system).unwrap().load(system.clock()).unwrap(),
            expected
        );
    }
}
