//! Publishes a message with TLS, user name and password, and ends when the broker has it.

use std::error::Error;

use rumqttc::{Client, Event, Incoming, MqttOptions, QoS, Transport};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port = arguments.next().ok_or("expected a port")?.parse()?;
    let ca_file = arguments.next().ok_or("expected a CA file")?;
    let mut options = MqttOptions::new("tls", "localhost", port);
    options.set_credentials("me", "secret");
    options.set_transport(Transport::tls(std::fs::read(ca_file)?, None, None));
    let (client, mut connection) = Client::new(options, 10);
    client.publish("a", QoS::AtLeastOnce, false, "x")?;
    for event in connection.iter() {
        if let Event::Incoming(Incoming::PubAck(_)) = event? {
            break;
        }
    }
    Ok(())
}
