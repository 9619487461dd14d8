//! `mqtt-client` as a library, against rbroker.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mqtt_client::{Client, ClientError, EventLoop, Options, QoS, Reconnect, Wakeup};
use tests::Broker;

fn options(broker: &Broker, identifier: &str) -> Options {
    let mut options = Options::new("127.0.0.1", broker.port);
    options.connect.client_identifier = identifier.into();
    options
}

const PATIENCE: Option<Duration> = Some(tests::PATIENCE);

#[test]
fn messages_are_published_and_received() -> Result<(), ClientError> {
    let broker = Broker::start("");
    let mut subscriber = Client::connect(options(&broker, "sub"))?;
    assert_eq!(
        subscriber.subscribe("kitchen/#", QoS::ExactlyOnce)?,
        QoS::ExactlyOnce
    );
    let mut publisher = Client::connect(options(&broker, "pub"))?;
    for (payload, qos) in [
        ("0", QoS::AtMostOnce),
        ("1", QoS::AtLeastOnce),
        ("2", QoS::ExactlyOnce),
    ] {
        publisher.publish("kitchen/temperature", payload, qos)?;
        let message = subscriber.receive(PATIENCE)?.expect("it comes");
        assert_eq!(&*message.topic_name, "kitchen/temperature");
        assert_eq!(message.payload, payload);
    }
    publisher.disconnect()?;
    assert!(
        subscriber
            .receive(Some(Duration::from_millis(1)))?
            .is_none()
    );
    subscriber.disconnect()
}

/// A message in the hands of a program that fails is not acknowledged, and comes again.
#[test]
fn a_message_is_acknowledged_when_the_next_is_asked_for() -> Result<(), ClientError> {
    let broker = Broker::start("");
    let mut options_of_worker = options(&broker, "worker");
    options_of_worker.connect.clean_start = false;
    let mut worker = Client::connect(options_of_worker.clone())?;
    worker.subscribe("jobs", QoS::AtLeastOnce)?;
    let mut publisher = Client::connect(options(&broker, "pub"))?;
    for job in ["1", "2", "3"] {
        publisher.publish("jobs", job, QoS::AtLeastOnce)?;
    }
    publisher.disconnect()?;
    assert_eq!(worker.receive(PATIENCE)?.expect("it comes").payload, "1");
    assert_eq!(worker.receive(PATIENCE)?.expect("it comes").payload, "2");
    broker.wait_for_log("Received PUBACK from worker (Mid: 1");
    drop(worker);
    let mut worker = Client::connect(options_of_worker)?;
    for job in ["2", "3"] {
        assert_eq!(worker.receive(PATIENCE)?.expect("it comes").payload, job);
    }
    worker.disconnect()
}

#[test]
fn a_lost_connection_is_made_again_with_its_subscriptions() -> Result<(), ClientError> {
    let broker = Broker::start("");
    let mut subscriber = Client::connect(options(&broker, "sub"))?;
    subscriber.subscribe("a", QoS::AtLeastOnce)?;
    let broker = broker.restart();
    let publishing = std::thread::spawn(move || {
        broker.wait_for_log("Sending SUBACK to sub");
        let mut publisher = Client::connect(options(&broker, "pub"))?;
        publisher.publish("a", "back", QoS::AtLeastOnce)?;
        publisher.disconnect()?;
        Ok::<_, ClientError>(broker)
    });
    assert_eq!(
        subscriber.receive(PATIENCE)?.expect("it comes").payload,
        "back"
    );
    publishing.join().expect("no panic")?;
    Ok(())
}

#[test]
fn a_server_that_is_not_there_is_an_error_at_once() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut options = Options::new("127.0.0.1", port);
    options.reconnect = Reconnect::Always;
    assert!(matches!(
        Client::connect(options),
        Err(ClientError::Connect(_))
    ));
}

/// After the last error nothing waits for what cannot come.
#[test]
fn a_client_whose_connection_is_gone_for_good_says_so_each_time() {
    let broker = Broker::start("");
    let mut options = options(&broker, "c");
    options.reconnect = Reconnect::Never;
    let mut client = Client::connect(options).unwrap();
    drop(broker);
    assert!(matches!(client.receive(None), Err(ClientError::Closed(_))));
    assert!(client.receive(None).is_err());
    assert!(client.subscribe("a", QoS::AtLeastOnce).is_err());
    assert!(client.publish("a", "x", QoS::AtLeastOnce).is_err());
}

/// Events of a socket that comes up are not repeated, and a turn of a pause takes them.
#[test]
fn a_pause_while_the_connection_comes_up_does_not_delay_it() -> Result<(), ClientError> {
    let broker = Broker::start("");
    let mut event_loop = EventLoop::new(options(&broker, "me"), None)?;
    let turn = |event_loop: &mut EventLoop| {
        let deadline = Instant::now() + tests::PATIENCE / 4;
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
