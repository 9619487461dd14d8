//! The state that survives with `persistence true` when the broker is killed with SIGKILL.

use tests::{Broker, Program, RawClient, stored_in};

/// Starts a broker with a store in this folder.
fn start(folder: &tempfile::TempDir) -> Broker {
    Broker::start(&stored_in(folder.path()))
}

/// Returns the output of `rsub` with these arguments.
fn receive(broker: &Broker, arguments: &str) -> String {
    let rsub = broker.program("rsub").args(arguments);
    rsub.args("-v").run().success().text()
}

#[test]
fn sessions_messages_and_retained_messages_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    broker.run("rpub", "-t kept -m retained -q 1 -r");
    broker.run("rpub", "-t gone -m retained -r");
    broker.run("rpub", "-t gone -n -r");
    // A session waits for messages while its client is away.
    let mut session = RawClient::open(broker.address());
    session.send(b"\x10\x13\x00\x04MQTT\x04\x00\x00\x00\x00\x07waiting");
    assert_eq!(session.read(4), [0x20, 2, 0, 0]);
    session.send(b"\x82\x08\x00\x01\x00\x03a/#\x02");
    assert_eq!(session.read(5), [0x90, 3, 0, 1, 2]);
    drop(session);
    broker.wait_for_log("disconnected: connection closed by client");
    for (qos, payload) in [(0, "lost"), (1, "one"), (2, "two")] {
        broker.run("rpub", &format!("-t a/b -m {payload} -q {qos}"));
    }
    let broker = broker.restart();
    broker.wait_for_log("1 sessions, 1 retained messages.");
    broker.run("rpub", "-t a/b -m three -q 2");
    let broker = broker.restart();
    let received = receive(&broker, "-i waiting -c -t a/# -q 2 -C 3");
    assert_eq!(received, "a/b one\na/b two\na/b three\n");
    assert_eq!(receive(&broker, "-t # -C 1 -q 1"), "kept retained\n");
    // After another kill, the broker does not send the received messages again.
    let broker = broker.restart();
    broker.run("rpub", "-t a/b -m four -q 1");
    let received = receive(&broker, "-i waiting -c -t a/# -q 2 -C 1");
    assert_eq!(received, "a/b four\n");
}

#[test]
fn two_brokers_cannot_share_a_store_and_a_foreign_file_is_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let _broker = start(&folder);
    let config = folder.path().join("second.conf");
    let location = folder.path().display();
    let text =
        format!("listener 0 127.0.0.1\npersistence true\npersistence_location {location}/\n");
    std::fs::write(&config, text).unwrap();
    let second = Program::new("rbroker").arg("-c").arg(&config).run();
    assert_eq!(second.status, 2);
    assert!(second.errors.contains("rbroker.db"), "{second:?}");

    let folder = tempfile::tempdir().unwrap();
    let foreign = folder.path().join("rbroker.db");
    std::fs::write(
        &foreign,
        "not a store, but long enough to look like one. ".repeat(200),
    )
    .unwrap();
    let location = folder.path().display();
    let text =
        format!("listener 0 127.0.0.1\npersistence true\npersistence_location {location}/\n");
    std::fs::write(&config, text).unwrap();
    let refused = Program::new("rbroker").arg("-c").arg(&config).run();
    assert_eq!(refused.status, 2);
    assert!(refused.errors.contains("rbroker.db"), "{refused:?}");
    assert!(
        std::fs::read_to_string(&foreign)
            .unwrap()
            .starts_with("not a store")
    );
}

/// Starts `rbroker` with this file or folder as its store. Returns its result.
fn start_with(store: impl FnOnce(&std::path::Path)) -> tests::Finished {
    let folder = tempfile::tempdir().unwrap();
    store(&folder.path().join("rbroker.db"));
    let config = folder.path().join("broker.conf");
    let location = folder.path().display();
    let text = format!("persistence true\npersistence_location {location}\n");
    std::fs::write(&config, format!("listener 0 127.0.0.1\n{text}")).unwrap();
    let running = Program::new("rbroker").arg("-c").arg(&config).start();
    if running.says("running.") {
        running.signal("TERM");
    }
    running.wait()
}

#[test]
fn rejects_foreign_and_corrupt_stores_and_accepts_an_empty_file() {
    let empty = start_with(|path| std::fs::write(path, "").unwrap());
    assert_eq!(empty.status, 0, "{empty:?}");
    let zeros = start_with(|path| std::fs::write(path, vec![0; 100_000]).unwrap());
    let folder = start_with(|path| std::fs::create_dir(path).unwrap());
    let damaged = start_with(|path| {
        let store = tempfile::tempdir().unwrap();
        let broker = start(&store);
        broker.run("rpub", "-t kept -m retained -q 1 -r");
        broker.running.signal("TERM");
        assert_eq!(broker.running.wait().status, 0);
        let mut bytes = std::fs::read(store.path().join("rbroker.db")).unwrap();
        // The bit is changed in every copy of the payload, because only one copy is in use.
        let positions = bytes.windows(8).enumerate();
        let found: Vec<_> = positions.filter(|(_, part)| part == b"retained").collect();
        let positions: Vec<_> = found.iter().map(|(position, _)| *position).collect();
        assert!(!positions.is_empty());
        positions.iter().for_each(|position| bytes[*position] ^= 1);
        std::fs::write(path, bytes).unwrap();
    });
    for (what, finished) in [("zeros", zeros), ("folder", folder), ("damaged", damaged)] {
        let expected = if what == "folder" { 1 } else { 2 };
        assert_eq!(finished.status, expected, "{what} {finished:?}");
        assert!(
            finished.errors.contains("Error: The broker cannot start"),
            "{what} {finished:?}"
        );
    }
}

/// No client can subscribe to this topic, but the file contains it.
#[test]
fn store_with_a_topic_of_60000_levels_does_not_crash_the_broker() {
    use mqtt_broker::{Clock, Store, SyncPolicy};
    use mqtt_broker_core::{ClientState, Expiry, Mutation, Retained, SubscriptionState};
    use mqtt_codec::{Message, QoS, SubscriptionOptions, TopicFilter, TopicName, Will};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rbroker.db");
    let deep = "a/".repeat(30_000) + &"/".repeat(5000);
    let deeper = "/".repeat(60_000);
    let mut message = Message::new(TopicName::new(&deeper).unwrap(), "payload");
    message.retain = true;
    let client = std::sync::Arc::<str>::from("deep");
    let subscribed = |topic_filter: &str| Mutation::Subscribed {
        client: client.clone(),
        topic_filter: TopicFilter::new(topic_filter).unwrap(),
        state: SubscriptionState {
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
            identifier: None,
        },
    };
    let records = [
        Mutation::Client {
            client: client.clone(),
            state: ClientState {
                user_name: None,
                listener: 0,
                expiry: Expiry::Never,
                session_ends: None,
                is_connected: true,
                will: Some(Will::new(message.clone(), QoS::AtLeastOnce)),
                will_due: None,
            },
        },
        subscribed(&deep),
        subscribed(&deeper),
        subscribed("a/#"),
        Mutation::Retained {
            topic_name: message.topic_name.clone(),
            retained: Some(Retained {
                version: 0,
                message: message.into(),
                qos: QoS::AtLeastOnce,
                expires: None,
                source: None,
            }),
        },
    ];
    let mut store = Store::open(&path, SyncPolicy::Always, Clock::now()).unwrap();
    store.commit(&records, Clock::now()).unwrap();
    drop(store);
    let broker = start(&folder);
    broker.wait_for_log("4 retained messages, subscriptions and wills are removed from the store");
    broker.run("rpub", "-t a/b -m x -q 1");
    assert_eq!(receive(&broker, "-i deep -c -t a/# -q 1 -C 1"), "a/b x\n");
    // The session is removed, together with its nodes in the topic tree.
    let clean = broker.program("rsub").args("-i deep -t x -E");
    clean.run().success();
    let broker = broker.stop().start();
    broker.run("rpub", "-t a/b -m x -q 1");
    let log = broker.wait_for_log("opened: 0 sessions, 0 retained messages.");
    assert!(!log.contains("are ignored"), "{log}");
    broker.stop();
}
