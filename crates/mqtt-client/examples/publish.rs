//! Publishes some messages and waits until the broker has acknowledged them.
//!
//! `cargo run --example publish [URL]`. Without a URL the example starts a broker in this process.

use std::error::Error;
use std::time::Duration;

use mqtt_client::{Client, QoS};
use mqtt_test_broker::TestBroker;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let url = std::env::args().nth(1).unwrap_or_else(|| broker.url());
    let client = Client::builder().url(&url)?.connect()?;

    // Each call returns when the message is in the outgoing queue. The client resends the message until the broker has
    // acknowledged it.
    for reading in ["21.5", "21.7", "22.0"] {
        client.publish("kitchen/temperature", reading, QoS::AtLeastOnce)?;
    }

    // A token returns the result of one message.
    let token = client.publish("kitchen/door", "open", QoS::ExactlyOnce)?;
    token.wait(Duration::from_secs(10))?;
    println!("the broker has '{}'", token.topic_name());

    client.disconnect(Duration::from_secs(10))?;
    Ok(())
}
