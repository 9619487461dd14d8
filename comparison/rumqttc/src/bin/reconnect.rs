//! Prints ten different jobs. The broker keeps the jobs that come while the connection is lost.

use std::collections::HashSet;
use std::error::Error;
use std::thread;
use std::time::Duration;

use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let mut options = MqttOptions::new("worker", "localhost", port);
    options.set_clean_session(false);
    let (client, mut connection) = Client::new(options, 10);
    let mut jobs = HashSet::new();
    for event in connection.iter() {
        match event {
            // A broker without the session has no subscription, either.
            Ok(Event::Incoming(Incoming::ConnAck(connack))) if !connack.session_present => {
                client.subscribe("jobs", QoS::AtLeastOnce)?;
            }
            Ok(Event::Incoming(Incoming::SubAck(_))) => println!("subscribed"),
            Ok(Event::Incoming(Incoming::Publish(message))) => {
                println!("job {:?}", message.payload);
                jobs.insert(message.payload);
                if jobs.len() == 10 {
                    break;
                }
            }
            Ok(_) => {}
            // The next turn of the loop tries again.
            Err(_) => thread::sleep(Duration::from_millis(100)),
        }
    }
    Ok(())
}
