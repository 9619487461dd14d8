//! Tests the library `mqtt-client` while its broker is killed and started again. No message that the library has
//! accepted is lost without an event.

use std::collections::BTreeSet;
use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use mqtt_client::{
    Client, ClientEvent, InboundMessage, Messages, Options, PublishError, QoS, Statistics,
};
use tests::{Broker, PATIENCE, Proxy, stored_in};

fn options(port: u16, identifier: &str, keeps_session: bool) -> Options {
    let mut options = Options::new("127.0.0.1", port);
    options.connect.client_identifier = identifier.into();
    options.connect.clean_start = !keeps_session;
    options
}

/// Receives messages until each of `expected` has arrived.
fn receive_all(messages: &mut Messages, mut expected: BTreeSet<String>) -> Vec<String> {
    let mut all = Vec::new();
    while !expected.is_empty() {
        let message = messages.receive(PATIENCE).expect("the client goes on");
        let message = message.unwrap_or_else(|| panic!("{} are missing", expected.len()));
        let text = message.text().expect("text").to_owned();
        expected.remove(&text);
        all.push(text);
    }
    all
}

/// Publishes and pauses in a loop, while the broker is killed and started again after two seconds.
fn published_in_a_loop(qos: QoS, rounds: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let broker = Broker::start(&stored_in(folder.path()));
    let subscriber = Client::connect(options(broker.port, "sub", true))?;
    let mut messages = subscriber.messages();
    subscriber.subscribe("d/#", QoS::ExactlyOnce)?;
    let publisher = Client::connect(options(broker.port, "pub", false))?;
    let restarted = thread::spawn(move || {
        // This sleep is a pause of the tested program and does not wait for any event.
        thread::sleep(Duration::from_secs(1));
        let port = broker.port;
        let stopped = broker.stop();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
        thread::sleep(Duration::from_secs(2));
        stopped.start()
    });
    let (mut accepted, mut tokens, mut errors) = (BTreeSet::new(), Vec::new(), 0);
    for round in 0..rounds {
        match publisher.publish("d/x", round.to_string(), qos) {
            Ok(token) => {
                accepted.insert(round.to_string());
                tokens.push((round, token));
            }
            Err(PublishError::Disconnected { .. }) if qos == QoS::AtMostOnce => errors += 1,
            Err(error) => return Err(error.into()),
        }
        thread::sleep(Duration::from_millis(100));
    }
    let _broker = restarted.join().expect("no panic");
    let lost: BTreeSet<_> = tokens
        .into_iter()
        .filter_map(|(round, token)| match token.wait(PATIENCE) {
            Ok(()) => None,
            Err(PublishError::Lost { .. }) => Some(round.to_string()),
            Err(error) => panic!("{error}"),
        })
        .collect();
    let Statistics { lost: count, .. } = publisher.statistics();
    assert_eq!(count, lost.len() as u64);
    match qos {
        QoS::AtMostOnce => assert!(errors > 0, "the broker was away"),
        _ => assert_eq!((lost.len(), errors), (0, 0)),
    }
    // Messages of QoS 0 that were sent when the broker was stopped may be lost.
    if qos != QoS::AtMostOnce {
        let all = receive_all(&mut messages, accepted.clone());
        if qos == QoS::ExactlyOnce {
            assert_eq!(all.len(), accepted.len(), "each once: {all:?}");
        }
    }
    publisher.disconnect(PATIENCE)?;
    Ok(())
}

#[test]
fn qos_0_is_an_error_or_counted_as_lost_while_the_broker_is_down() -> Result<(), Box<dyn Error>> {
    published_in_a_loop(QoS::AtMostOnce, 60)
}

#[test]
fn messages_of_qos_1_are_delivered_after_the_broker_restarts() -> Result<(), Box<dyn Error>> {
    published_in_a_loop(QoS::AtLeastOnce, 60)
}

#[test]
fn messages_of_qos_2_are_delivered_exactly_once_after_the_broker_restarts()
-> Result<(), Box<dyn Error>> {
    published_in_a_loop(QoS::ExactlyOnce, 60)
}

#[test]
fn a_pause_of_twice_the_keep_alive_does_not_end_the_connection() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start("");
    let mut options = options(broker.port, "pub", false);
    options.connect.keep_alive = 1;
    let client = Client::connect(options)?;
    let mut events = client.events();
    let connected = events.receive(PATIENCE);
    assert!(matches!(connected, Some(ClientEvent::Connected { .. })));
    for _ in 0..2 {
        client.publish_and_wait("a", "x", QoS::AtLeastOnce, PATIENCE)?;
        // Without an event no connection was lost.
        assert!(events.receive(Duration::from_secs(2)).is_none());
    }
    client.disconnect(PATIENCE)?;
    Ok(())
}

/// If the application acknowledges a message after its connection was lost, the acknowledgement answers the resent
/// message.
#[test]
fn a_message_is_acknowledged_after_its_connection_was_lost() -> Result<(), Box<dyn Error>> {
    // Each case has its own connections. A second cut could lose acknowledgements of the first case in transit, and the
    // server would rightly resend its messages.
    acknowledged_after_a_cut("1", QoS::AtLeastOnce)?;
    acknowledged_after_a_cut("2", QoS::ExactlyOnce)
}

fn acknowledged_after_a_cut(payload: &'static str, qos: QoS) -> Result<(), Box<dyn Error>> {
    let broker = Broker::start("");
    let proxy = Proxy::start(broker.address());
    let worker = Client::connect(options(proxy.address.port(), "worker", true))?;
    let mut jobs = worker.messages().with_manual_acknowledgement();
    worker.subscribe("jobs", QoS::ExactlyOnce)?;
    let publisher = Client::connect(options(broker.port, "pub", false))?;
    let receive = |jobs: &mut Messages| -> Result<InboundMessage, Box<dyn Error>> {
        Ok(jobs.receive(PATIENCE)?.ok_or("no message")?)
    };
    publisher.publish("jobs", payload, qos)?;
    let before = receive(&mut jobs)?;
    assert_eq!(before.payload, payload);
    let mut events = worker.events();
    proxy.cut();
    let is_connected = |event: ClientEvent| matches!(event, ClientEvent::Connected { .. });
    assert!(events.any(|event| matches!(event, ClientEvent::Disconnected { .. })));
    assert!(events.any(is_connected));
    worker.acknowledge(&before);
    // The next message is the new one, because the resent message was a duplicate.
    publisher.publish("jobs", "next", qos)?;
    let next = receive(&mut jobs)?;
    assert_eq!(next.payload, "next");
    worker.acknowledge(&next);
    publisher.disconnect(PATIENCE)?;
    worker.disconnect(PATIENCE)?;
    let worker = Client::connect(options(broker.port, "worker", true))?;
    let left = worker.messages().receive(Duration::from_millis(300))?;
    assert!(left.is_none(), "{left:?}");
    Ok(())
}

/// Two threads publish and a third receives, while the connections are cut again and again.
#[test]
fn two_threads_publish_while_a_third_reads_under_cuts() -> Result<(), Box<dyn Error>> {
    let each: usize = match std::env::var("MESSAGES") {
        Ok(number) => number.parse()?,
        Err(_) => 20_000,
    };
    let broker = Broker::start_silent(
        tests::Kind::Rbroker,
        "max_queued_messages 0\nmax_inflight_messages 100\n",
    );
    let proxy = Proxy::start(broker.address());
    let client = Client::connect(options(proxy.address.port(), "both", true))?;
    let mut messages = client.messages();
    client.subscribe("t/#", QoS::AtLeastOnce)?;
    let publish = |client: Client, name: &'static str| {
        move || {
            for number in 0..each {
                let token = client.publish("t/x", format!("{name}{number}"), QoS::AtLeastOnce);
                token.expect("the queue gets room");
            }
        }
    };
    let start = Instant::now();
    let publishers = ["a", "b"].map(|name| thread::spawn(publish(client.clone(), name)));
    let numbers = (0..each).flat_map(|number| [format!("a{number}"), format!("b{number}")]);
    let mut expected: BTreeSet<_> = numbers.collect();
    let (mut received, mut cuts) = (0, 0);
    while !expected.is_empty() {
        let message = messages.receive(PATIENCE)?.ok_or("no message")?;
        expected.remove(message.text().ok_or("no text")?);
        received += 1;
        if received % (each / 4) == 0 && cuts < 6 {
            proxy.cut();
            cuts += 1;
        }
    }
    for publisher in publishers {
        publisher.join().expect("no panic");
    }
    client.disconnect(PATIENCE)?;
    let duration = start.elapsed();
    println!("{each} of each, {received} received, {cuts} cuts, {duration:?}");
    assert!(cuts >= 4);
    Ok(())
}

/// Messages that the program does not receive, and a full queue, neither end the connection nor stop acknowledgements.
#[test]
fn a_client_without_a_reader_publishes_and_stays_connected() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "");
    let client = Client::connect(options(broker.port, "c", false))?;
    client.subscribe("a", QoS::AtMostOnce)?;
    for _ in 0..3000 {
        client.publish("a", "x", QoS::AtLeastOnce)?;
    }
    client.publish_and_wait("a", "x", QoS::AtLeastOnce, PATIENCE)?;
    assert!(client.is_connected());
    assert_eq!(client.statistics().delivered, 3001);
    client.disconnect(PATIENCE)?;
    Ok(())
}

/// A slow reader slows the broker down, and no message is lost.
#[test]
fn slow_reader_slows_the_broker_down_without_loss() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start_silent(tests::Kind::Rbroker, "max_queued_messages 0\n");
    let subscriber = Client::connect(options(broker.port, "sub", false))?;
    let mut messages = subscriber.messages();
    subscriber.subscribe("a", QoS::AtLeastOnce)?;
    let publisher = Client::connect(options(broker.port, "pub", false))?;
    for number in 0..5000 {
        publisher.publish("a", number.to_string(), QoS::AtLeastOnce)?;
    }
    publisher.disconnect(PATIENCE)?;
    for number in 0..5000 {
        let message = messages.receive(PATIENCE)?.ok_or("no message")?;
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    assert_eq!(subscriber.statistics().discarded, 0);
    subscriber.disconnect(PATIENCE)?;
    Ok(())
}
