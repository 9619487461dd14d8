//! Two threads publish a thousand messages each, while the main thread reads all of them.

use std::error::Error;
use std::thread;

use rumqttc::{Client, Event, Incoming, MqttOptions, Outgoing, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let options = MqttOptions::new("threads", "localhost", port);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("numbers/#", QoS::AtLeastOnce)?;
    let mut publishers = Vec::new();
    let mut finished = 0;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Incoming::SubAck(_)) => {
                publishers.extend(["numbers/a", "numbers/b"].map(|topic| {
                    let client = client.clone();
                    thread::spawn(move || {
                        for number in 0..1000 {
                            client.publish(topic, QoS::AtLeastOnce, false, number.to_string())?;
                        }
                        Ok::<_, rumqttc::ClientError>(())
                    })
                }));
            }
            Event::Incoming(Incoming::Publish(_) | Incoming::PubAck(_)) => {
                finished += 1;
                if finished == 4000 {
                    client.disconnect()?;
                }
            }
            Event::Outgoing(Outgoing::Disconnect) => break,
            _ => {}
        }
    }
    println!("received 2000");
    for publisher in publishers {
        publisher.join().map_err(|_| "a publisher panicked")??;
    }
    Ok(())
}
