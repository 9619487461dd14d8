//! Publishes three messages, and ends when the broker has all of them.

use std::error::Error;

use rumqttc::{Client, Event, Incoming, MqttOptions, Outgoing, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let options = MqttOptions::new("publish", "localhost", port);
    let (client, mut connection) = Client::new(options, 10);
    for reading in ["21.5", "21.7", "22.0"] {
        client.publish("kitchen/temperature", QoS::AtLeastOnce, false, reading)?;
    }
    let mut acknowledged = 0;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Incoming::PubAck(_)) => {
                acknowledged += 1;
                if acknowledged == 3 {
                    client.disconnect()?;
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    Ok(())
}
