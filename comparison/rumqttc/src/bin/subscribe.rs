//! Prints three messages of a topic filter.

use std::error::Error;

use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let options = MqttOptions::new("subscribe", "localhost", port);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
    let mut received = 0;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Incoming::SubAck(_)) => println!("subscribed"),
            Event::Incoming(Incoming::Publish(message)) => {
                println!("{}: {:?}", message.topic, message.payload);
                received += 1;
                if received == 3 {
                    break;
                }
            }
            _ => {}
        }
    }
    Ok(())
}
