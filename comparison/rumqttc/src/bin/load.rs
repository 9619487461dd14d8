//! `load publish|receive QOS MESSAGES PORT`: publishes messages until the broker has all of them, or receives the
//! messages that the broker has queued for a session. Prints the time in microseconds.

use std::error::Error;
use std::thread;
use std::time::Instant;

use rumqttc::{Client, Connection, Event, Incoming, MqttOptions, Outgoing, QoS};

/// Maximum number of messages in flight. [`QUEUE`] is the maximum number in the queue of the library.
const IN_FLIGHT: u16 = 100;
const QUEUE: usize = 1000;
const PAYLOAD: [u8; 100] = [b'x'; 100];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [action, qos, messages, port] = &arguments[..] else {
        return Err("expected publish or receive, a QoS, a number of messages and a port".into());
    };
    let qos = match qos.as_str() {
        "0" => QoS::AtMostOnce,
        "1" => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let messages = messages.parse()?;
    let mut options = MqttOptions::new("load", "127.0.0.1", port.parse()?);
    options.set_inflight(IN_FLIGHT);
    options.set_clean_session(action == "publish");
    let start = Instant::now();
    let (client, mut connection) = Client::new(options, QUEUE);
    let mut time = None;
    let client = if action == "publish" {
        publish(client, &mut connection, qos, messages)?
    } else {
        wait_for(&mut connection, messages, |event| {
            matches!(event, Event::Incoming(Incoming::Publish(_)))
        })?;
        // The time of the broker for the last acknowledgements does not count.
        time = Some(start.elapsed());
        client
    };
    client.disconnect()?;
    wait_for(&mut connection, 1, |event| {
        matches!(event, Event::Outgoing(Outgoing::Disconnect))
    })?;
    let time = time.unwrap_or_else(|| start.elapsed());
    println!("{}", time.as_micros());
    Ok(())
}

fn publish(
    client: Client,
    connection: &mut Connection,
    qos: QoS,
    messages: usize,
) -> Result<Client, Box<dyn Error>> {
    let publisher = thread::spawn(move || {
        for _ in 0..messages {
            client
                .publish("load", qos, false, PAYLOAD.to_vec())
                .expect("the connection is read");
        }
        client // dropped later, or the connection would end
    });
    wait_for(connection, messages, |event| {
        matches!(
            (event, qos),
            (Event::Outgoing(Outgoing::Publish(_)), QoS::AtMostOnce)
                | (Event::Incoming(Incoming::PubAck(_)), QoS::AtLeastOnce)
                | (Event::Incoming(Incoming::PubComp(_)), QoS::ExactlyOnce)
        )
    })?;
    publisher
        .join()
        .map_err(|_| "the publisher panicked".into())
}

/// Runs the connection until this number of events has come.
fn wait_for(
    connection: &mut Connection,
    count: usize,
    is_it: impl Fn(&Event) -> bool,
) -> Result<(), Box<dyn Error>> {
    let mut found = 0;
    for event in connection.iter() {
        found += usize::from(is_it(&event?));
        if found == count {
            break;
        }
    }
    Ok(())
}
