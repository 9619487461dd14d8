//! Prints the messages for a topic filter, and the events of the connection.
//!
//! `cargo run --example subscribe [URL]`. Without a URL the example starts a broker in this process.

use std::error::Error;
use std::thread;

use mqtt_client::{Client, ClientEvent, QoS};
use mqtt_test_broker::TestBroker;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let url = std::env::args().nth(1).unwrap_or_else(|| broker.url());
    let client = Client::builder().url(&url)?.connect()?;

    let events = client.events();
    thread::spawn(move || {
        for event in events {
            match event {
                ClientEvent::Disconnected { reason } => println!("{reason}"),
                event => println!("{event:?}"),
            }
        }
    });

    let granted = client.subscribe("kitchen/#", QoS::AtLeastOnce)?;
    println!("subscribed with {granted:?}");
    client.publish("kitchen/temperature", "21.5", QoS::AtLeastOnce)?;

    // The loop ends after one message. Without `take` it would run until the client ends.
    for message in client.messages().take(1) {
        println!("{}: {:?}", message.topic_name, message.payload);
    }
    Ok(())
}
