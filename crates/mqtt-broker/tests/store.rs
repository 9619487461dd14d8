//! The file of the store, damaged: it is refused, or what it gives is what was written.

use std::path::Path;
use std::sync::Arc;

use mqtt_broker::{Clock, Record, Retained, Saved, Store, StoreError, SyncPolicy};
use mqtt_codec::{Message, QoS, TopicName};

fn open(path: &Path) -> Result<Saved, StoreError> {
    Store::open(path, SyncPolicy::Always)?.load(Clock::now())
}

fn retained(number: u32) -> Record {
    let topic_name = TopicName::new(&format!("t/{number}")).unwrap();
    let mut message = Message::new(topic_name.clone(), format!("payload {number}").repeat(20));
    message.retain = true;
    let retained = Some(Retained {
        message: Arc::new(message),
        qos: QoS::AtLeastOnce,
        expires: None,
        source: None,
    });
    Record::Retained {
        topic_name,
        retained,
    }
}

#[test]
fn a_bit_that_has_changed_alters_no_message() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let records: Vec<_> = (0..500).map(retained).collect();
    let mut store = Store::open(&path, SyncPolicy::Always).unwrap();
    store.commit(&records, Clock::now()).unwrap();
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let expected = open(&path).unwrap();
    assert_eq!(expected.retained.len(), 500);
    let (mut refused, mut unharmed, mut altered) = (0, 0, Vec::new());
    // Where something is written; the rest of the file is zero and unused.
    let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
    for position in (0..used).step_by(used / 97) {
        let mut damaged = whole.clone();
        damaged[position] ^= 1 << (position % 8);
        std::fs::write(&path, &damaged).unwrap();
        // A panic of redb ends rbroker with the same status and words.
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
