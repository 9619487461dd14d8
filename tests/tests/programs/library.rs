//! Tests the library `mqtt-client` against rbroker.

use std::error::Error;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mqtt_client::{
    Client, ClientError, ConnectError, DisconnectError, EventLoop, Options, PublishError, QoS,
    Reconnect, Wakeup,
};
use tests::{Broker, PATIENCE};

fn options(broker: &Broker, identifier: &str) -> Options {
    let mut options = Options::new("127.0.0.1", broker.port);
    options.connect.client_identifier = identifier.into();
    options
}

#[test]
fn messages_are_published_and_received() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start("");
    let subscriber = Client::connect(options(&broker, "sub"))?;
    let mut messages = subscriber.messages();
    assert_eq!(
        subscriber.subscribe("kitchen/#", QoS::ExactlyOnce)?,
        QoS::ExactlyOnce
    );
    let publisher = Client::connect(options(&broker, "pub"))?;
    for (payload, qos) in [
        ("0", QoS::AtMostOnce),
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
    ] {
        publisher.publish_and_wait("kitchen/temperature", payload, qos, PATIENCE)?;
        let message = messages.receive(PATIENCE)?.expect("it comes");
        assert_eq!(&*message.topic_name, "kitchen/temperature");
        assert_eq!((message.text(), message.qos), (Some(payload), qos));
    }
    publisher.disconnect(PATIENCE)?;
    assert!(messages.receive(Duration::from_millis(1))?.is_none());
    subscriber.disconnect(PATIENCE)?;
    assert!(matches!(
        messages.receive(PATIENCE),
        Err(ConnectError::Closed)
    ));
    Ok(())
}

/// A message is acknowledged when the program receives the next one. If the program fails before, the broker resends
/// the message.
#[test]
fn message_is_acknowledged_when_the_next_is_requested() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start("");
    let mut options_of_worker = options(&broker, "worker");
    options_of_worker.connect.clean_start = false;
    let worker = Client::connect(options_of_worker.clone())?;
    let mut jobs = worker.messages();
    worker.subscribe("jobs", QoS::AtLeastOnce)?;
    let publisher = Client::connect(options(&broker, "pub"))?;
    for job in ["1", "2", "3"] {
        publisher.publish("jobs", job, QoS::AtLeastOnce)?;
    }
    publisher.disconnect(PATIENCE)?;
    assert_eq!(jobs.receive(PATIENCE)?.expect("it comes").payload, "1");
    assert_eq!(jobs.receive(PATIENCE)?.expect("it comes").payload, "2");
    broker.wait_for_log("Received PUBACK from worker (Mid: 1");
    drop((worker, jobs));
    let worker = Client::connect(options_of_worker)?;
    let mut jobs = worker.messages();
    for job in ["2", "3"] {
        assert_eq!(jobs.receive(PATIENCE)?.expect("it comes").payload, job);
    }
    jobs.acknowledge_last();
    worker.disconnect(PATIENCE)?;
    Ok(())
}

#[test]
fn reconnects_and_subscribes_again_after_a_lost_connection() -> Result<(), Box<dyn Error>> {
    let broker = Broker::start("");
    let subscriber = Client::connect(options(&broker, "sub"))?;
    let mut messages = subscriber.messages();
    subscriber.subscribe("a", QoS::AtLeastOnce)?;
    let broker = broker.restart();
    broker.wait_for_log("Sending SUBACK to sub");
    let publisher = Client::connect(options(&broker, "pub"))?;
    publisher.publish("a", "back", QoS::AtLeastOnce)?;
    publisher.disconnect(PATIENCE)?;
    assert_eq!(
        messages.receive(PATIENCE)?.expect("it comes").payload,
        "back"
    );
    Ok(())
}

#[test]
fn unreachable_server_is_an_error_without_delay() {
    let mut options = Options::new("127.0.0.1", tests::free_port());
    options.reconnect = Reconnect::Always;
    let start = Instant::now();
    assert!(matches!(
        Client::connect(options),
        Err(ConnectError::Unreachable { .. })
    ));
    assert!(start.elapsed() < PATIENCE / 4);
}

/// After the connection has ended for good, each call returns the error immediately.
#[test]
fn each_call_fails_after_the_connection_has_ended_for_good() {
    let broker = Broker::start("");
    let mut options = options(&broker, "c");
    options.reconnect = Reconnect::Never;
    let client = Client::connect(options).unwrap();
    let mut messages = client.messages();
    drop(broker);
    for _ in 0..2 {
        let received = messages.receive(PATIENCE);
        let is_lost = matches!(received, Err(ConnectError::Lost { .. }));
        assert!(is_lost, "{received:?}");
    }
    assert!(messages.next().is_none());
    assert!(client.subscribe("a", QoS::AtLeastOnce).is_err());
    assert!(matches!(
        client.publish("a", "x", QoS::AtLeastOnce),
        Err(PublishError::Closed { .. })
    ));
    assert!(matches!(
        client.disconnect(PATIENCE),
        Err(DisconnectError::Closed { unfinished: 0, .. })
    ));
}

/// mio reports a new connection once. A turn of the loop during a pause must not lose this event.
#[test]
fn pause_of_the_caller_does_not_delay_connecting() -> Result<(), ClientError> {
    let broker = Broker::start("");
    let mut event_loop = EventLoop::new(options(&broker, "me"), None)?;
    let turn = |event_loop: &mut EventLoop| {
        let deadline = Instant::now() + PATIENCE / 4;
        event_loop.poll(Some(deadline), |_, _| ControlFlow::Continue(()))
    };
    event_loop.poll(Some(Instant::now()), |_, _| ControlFlow::Continue(()))?;
    event_loop.pause();
    assert!(matches!(turn(&mut event_loop)?, Wakeup::Progress));
    event_loop.resume();
    while !event_loop.is_connected() {
        assert!(matches!(turn(&mut event_loop)?, Wakeup::Progress));
    }
    Ok(())
}
