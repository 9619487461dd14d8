//! Wills of clients whose broker is stopped or killed. The broker publishes them after the next start, unless the
//! client resumes its session in time.

use tests::{Broker, RawClient, stored_in};

fn start(folder: &tempfile::TempDir, settings: &str) -> Broker {
    Broker::start(&(stored_in(folder.path()) + settings))
}

/// Publishes a retained message with the payload "online".
fn publish_online(broker: &Broker) {
    let online = broker.program("rpub");
    online.args("-t state -m online -q 1 -r").run().success();
}

/// Returns `true` if the retained message of the topic has this payload.
fn says(broker: &Broker, text: &str) -> bool {
    let rsub = broker.program("rsub");
    rsub.args("-t state -q 1 -C 1").run().success().text() == format!("{text}\n")
}

/// Connects a client of 5.0 whose retained will has the payload "offline" on the topic `state`.
fn connect(broker: &Broker, session_expiry: u8, will_delay: u8) -> RawClient {
    let mut client = RawClient::open(broker.address());
    let mut body = b"\x00\x04MQTT\x05".to_vec();
    body.push(0b0010_1100); // Will Retain, Will QoS 1, Will Flag
    body.extend([0, 0]); // Keep Alive 0
    body.extend([5, 0x11, 0, 0, 0, session_expiry]);
    body.extend(b"\x00\x05dying");
    body.extend([5, 0x18, 0, 0, 0, will_delay]);
    body.extend(b"\x00\x05state\x00\x07offline");
    let mut packet = vec![0x10, u8::try_from(body.len()).unwrap()];
    packet.extend(body);
    client.send(&packet);
    let connack = client.read(2);
    assert_eq!(connack[0], 0x20);
    assert_eq!(client.read(connack[1].into())[1], 0);
    client
}

#[test]
fn will_of_a_lost_client_is_published_when_the_broker_stops() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder, "");
    // The usual set-up: a client with a retained will and a session that ends with its connection.
    let client = broker.program("rsub").args(
        "-i dying -t commands -q 1 --will-topic state --will-payload offline --will-retain --will-qos 1",
    );
    let client = client.start();
    broker.wait_for_log("Sending SUBACK to dying");
    publish_online(&broker);
    let stopped = broker.stop();
    drop(client);
    let broker = stopped.start();
    assert!(says(&broker, "offline"));
    // The will is published once.
    publish_online(&broker);
    let broker = broker.stop().start();
    assert!(says(&broker, "online"));
}

#[test]
fn wills_survive_a_stop_and_a_kill_of_the_broker() {
    // Session Expiry Interval and Will Delay Interval. In each case the will is due at the start.
    for (expiry, delay) in [(0, 0), (0, 200), (200, 0)] {
        for is_killed in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let broker = start(&folder, "");
            let client = connect(&broker, expiry, delay);
            publish_online(&broker);
            let broker = if is_killed {
                broker.restart()
            } else {
                broker.stop().start()
            };
            drop(client);
            let case = format!("expiry {expiry}, delay {delay}, killed: {is_killed}");
            assert!(says(&broker, "offline"), "{case}");
        }
    }
}

#[test]
fn delay_of_a_will_continues_after_restart_and_ends_if_the_client_resumes() {
    for comes_back in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let broker = start(&folder, "");
        let client = connect(&broker, 200, 3);
        publish_online(&broker);
        let broker = broker.stop().start();
        drop(client);
        assert!(says(&broker, "online"), "it is delayed");
        if comes_back {
            let mut client = connect(&broker, 200, 3);
            client.ping();
            // After the delay the retained message is unchanged.
            let watcher = broker.program("rsub").args("-t state -R -W 4");
            assert_eq!(watcher.run().text(), "");
            assert!(says(&broker, "online"));
            client.ping();
        } else {
            let watcher = broker.program("rsub").args("-t state -R -C 1");
            assert_eq!(watcher.run().success().text(), "offline\n");
        }
    }
}

#[test]
fn discarded_will_is_not_published_after_restart() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder, "");
    let mut client = connect(&broker, 0, 0);
    publish_online(&broker);
    client.send(b"\xe0\x00"); // DISCONNECT
    client.read_to_end();
    let broker = broker.stop().start();
    assert!(says(&broker, "online"));
    // Reason code 0x04 disconnects with the will, which is published immediately.
    let mut client = connect(&broker, 0, 0);
    client.send(b"\xe0\x01\x04");
    client.read_to_end();
    let broker = broker.restart();
    assert!(says(&broker, "offline"));
}

#[test]
fn broker_without_a_store_publishes_wills_to_connected_clients_when_it_stops() {
    let broker = Broker::start("");
    let _client = connect(&broker, 200, 60);
    let watcher = broker.program("rsub").args("-i watcher -t state -q 1 -C 1");
    let watcher = watcher.start();
    broker.wait_for_log("Sending SUBACK to watcher");
    broker.stop();
    assert_eq!(watcher.wait().success().text(), "offline\n");
}
