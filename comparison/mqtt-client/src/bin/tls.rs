//! Publishes a message with TLS, user name and password, and ends when the broker has it.

use std::error::Error;
use std::time::Duration;

use mqtt_client::{Client, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let port: u16 = arguments.next().ok_or("expected a port")?.parse()?;
    let ca_file = arguments.next().ok_or("expected a CA file")?;
    let client = Client::builder()
        .url(&format!("mqtts://localhost:{port}"))?
        .user_name("me")
        .password("secret")
        .ca_file(ca_file)
        .connect()?;
    client.publish_and_wait("a", "x", QoS::AtLeastOnce, Duration::from_secs(10))?;
    Ok(())
}
