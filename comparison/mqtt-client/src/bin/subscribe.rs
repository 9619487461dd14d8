//! Prints three messages of a topic filter.

use std::error::Error;

use mqtt_client::{Client, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let client = Client::builder().host("localhost", port).connect()?;
    client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
    println!("subscribed");
    for message in client.messages().take(3) {
        println!("{}: {:?}", message.topic_name, message.payload);
    }
    Ok(())
}
