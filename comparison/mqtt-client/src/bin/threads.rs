//! Two threads publish a thousand messages each, while the main thread reads all of them.

use std::error::Error;
use std::thread;
use std::time::Duration;

use mqtt_client::{Client, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let client = Client::builder().host("localhost", port).connect()?;
    client.subscribe("numbers/#", QoS::AtLeastOnce)?;
    let publishers = ["numbers/a", "numbers/b"].map(|topic_name| {
        let client = client.clone();
        thread::spawn(move || {
            for number in 0..1000 {
                client.publish(topic_name, number.to_string(), QoS::AtLeastOnce)?;
            }
            Ok::<_, mqtt_client::PublishError>(())
        })
    });
    println!("received {}", client.messages().take(2000).count());
    for publisher in publishers {
        publisher.join().map_err(|_| "a publisher panicked")??;
    }
    client.disconnect(Duration::from_secs(10))?;
    Ok(())
}
