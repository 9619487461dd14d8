//! Publishes with `rumqttc`.

use std::thread;

use rumqttc::{Client, Event, MqttOptions, Outgoing, Packet, QoS};

use crate::{IN_FLIGHT, PAYLOAD, QUEUE, Result};

pub(crate) fn publish(qos: u8, messages: usize, port: u16) -> Result<()> {
    let qos = match qos {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let mut options = MqttOptions::new("bench", "127.0.0.1", port);
    options.set_inflight(IN_FLIGHT);
    let (client, mut connection) = Client::new(options, QUEUE);
    let publisher = thread::spawn(move || {
        for _ in 0..messages {
            client
                .publish("bench/topic", qos, false, PAYLOAD.to_vec())
                .expect("the connection is read");
        }
        client // dropping it here would end the connection
    });
    let mut finished = 0;
    for event in connection.iter() {
        let is_finished = matches!(
            (event?, qos),
            (Event::Outgoing(Outgoing::Publish(_)), QoS::AtMostOnce)
                | (Event::Incoming(Packet::PubAck(_)), QoS::AtLeastOnce)
                | (Event::Incoming(Packet::PubComp(_)), QoS::ExactlyOnce)
        );
        finished += usize::from(is_finished);
        if finished == messages {
            break;
        }
    }
    let client = publisher.join().map_err(|_| "the publisher panicked")?;
    client.disconnect()?;
    for event in connection.iter() {
        if let Event::Outgoing(Outgoing::Disconnect) = event? {
            break;
        }
    }
    Ok(())
}
