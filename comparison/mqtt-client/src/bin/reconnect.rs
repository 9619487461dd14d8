//! Prints ten different jobs. The broker keeps the jobs that come while the connection is lost.

use std::collections::HashSet;
use std::error::Error;
use std::time::Duration;

use mqtt_client::{Client, QoS, SessionRetention};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let client = Client::builder()
        .host("localhost", port)
        .client_identifier("worker")
        .session(SessionRetention::For(Duration::from_secs(3600)))
        .connect()?;
    client.subscribe("jobs", QoS::AtLeastOnce)?;
    println!("subscribed");
    let mut jobs = HashSet::new();
    for message in client.messages() {
        println!("job {:?}", message.payload);
        jobs.insert(message.payload);
        if jobs.len() == 10 {
            break;
        }
    }
    Ok(())
}
