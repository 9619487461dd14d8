//! Test of a client whose application does not read: the client reconnects, and loses no received message.

use std::time::Duration;

use mqtt_client::{Client, ClientEvent, ProtocolVersion, PublishError, QoS};
use mqtt_test_broker::TestBroker;

const TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn a_client_with_a_full_queue_reconnects() {
    let mut broker = TestBroker::start();
    let builder = || Client::builder().url(&broker.url()).unwrap();
    let subscriber = builder().incoming_queue(10, usize::MAX).connect().unwrap();
    let mut messages = subscriber.messages();
    let mut events = subscriber.events();
    subscriber.subscribe("a", QoS::AtMostOnce).unwrap();
    let publisher = builder().connect().unwrap();
    for number in 0..30 {
        let token = publisher.publish("a", number.to_string(), QoS::AtMostOnce);
        token.unwrap().wait(TIMEOUT).unwrap();
    }
    publisher.disconnect(TIMEOUT).unwrap();
    // The queue is full, so the client reads no acknowledgements either.
    let short = Duration::from_millis(300);
    let result = subscriber.publish_and_wait("b", "x", QoS::AtLeastOnce, short);
    assert!(matches!(result, Err(PublishError::TimedOut { .. })));
    broker.restart();
    let mut is_next = |is_it: fn(&ClientEvent) -> bool| {
        std::iter::from_fn(|| events.receive(TIMEOUT)).any(|event| is_it(&event))
    };
    assert!(is_next(|event| matches!(
        event,
        ClientEvent::Disconnected { .. }
    )));
    assert!(is_next(|event| matches!(
        event,
        ClientEvent::Connected { .. }
    )));
    let message = subscriber.publish_and_wait("b", "y", QoS::AtLeastOnce, TIMEOUT);
    message.unwrap();
    for number in 0..30 {
        let message = messages.receive(TIMEOUT).unwrap().unwrap();
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
}

/// The messages of a resumed session, and retained messages, can fill the queue before the application has created its
/// reader.
#[test]
fn messages_received_before_the_first_reader_are_kept() {
    let broker = TestBroker::start();
    let builder = || Client::builder().url(&broker.url()).unwrap();
    let subscriber = builder().incoming_queue(10, usize::MAX).connect().unwrap();
    subscriber.subscribe("a", QoS::AtMostOnce).unwrap();
    let publisher = builder().connect().unwrap();
    for number in 0..30 {
        let token = publisher.publish("a", number.to_string(), QoS::AtMostOnce);
        token.unwrap().wait(TIMEOUT).unwrap();
    }
    publisher.disconnect(TIMEOUT).unwrap();
    // The queue is full and waits for a reader: acknowledgements wait, too.
    let short = Duration::from_millis(300);
    let result = subscriber.publish_and_wait("b", "x", QoS::AtLeastOnce, short);
    assert!(matches!(result, Err(PublishError::TimedOut { .. })));
    let mut messages = subscriber.messages();
    for number in 0..30 {
        let message = messages.receive(TIMEOUT).unwrap().unwrap();
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    assert_eq!(subscriber.statistics().discarded, 0);
}

/// With MQTT 5.0 the Receive Maximum keeps the server from filling the queue with messages of QoS 1 and 2. A client that
/// does not read its messages then still gets its acknowledgements.
#[test]
fn unread_messages_do_not_delay_acknowledgements() {
    let broker = TestBroker::start();
    let builder = Client::builder().url(&broker.url()).unwrap();
    let builder = builder.protocol_version(ProtocolVersion::V5_0);
    let client = builder.incoming_queue(10, usize::MAX).connect().unwrap();
    let mut messages = client.messages();
    client.subscribe("a", QoS::AtLeastOnce).unwrap();
    for number in 0..30 {
        let timeout = Duration::from_secs(15);
        client
            .publish_and_wait("a", number.to_string(), QoS::AtLeastOnce, timeout)
            .unwrap();
    }
    for number in 0..30 {
        let message = messages.receive(TIMEOUT).unwrap().unwrap();
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
}

/// The queue becomes full and gets room again thousands of times, while the reader runs the connection itself.
#[test]
fn a_fast_stream_through_a_small_queue_arrives_in_order() {
    let broker = TestBroker::start_with("max_queued_messages 0\nmax_inflight_messages 100\n");
    let builder = || Client::builder().url(&broker.url()).unwrap();
    let subscriber = builder().incoming_queue(10, usize::MAX).connect().unwrap();
    let mut messages = subscriber.messages();
    subscriber.subscribe("a", QoS::AtLeastOnce).unwrap();
    let publisher = builder().connect().unwrap();
    let thread = std::thread::spawn(move || {
        for number in 0..5000 {
            let token = publisher.publish("a", number.to_string(), QoS::AtLeastOnce);
            token.unwrap();
        }
        publisher.disconnect(TIMEOUT).unwrap();
    });
    for number in 0..5000 {
        let message = messages.receive(TIMEOUT / 6).unwrap();
        let message = message.expect("the client continues to read");
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    thread.join().unwrap();
    subscriber.disconnect(TIMEOUT).unwrap();
}
