//! Publishes three messages, and ends when the broker has all of them.

use std::error::Error;
use std::time::Duration;

use mqtt_client::{Client, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let client = Client::builder().host("localhost", port).connect()?;
    for reading in ["21.5", "21.7", "22.0"] {
        client.publish("kitchen/temperature", reading, QoS::AtLeastOnce)?;
    }
    client.disconnect(Duration::from_secs(10))?;
    Ok(())
}
