//! Does jobs in several threads. A job is acknowledged when it is done. If the program fails before, the broker
//! delivers the job again.
//!
//! `cargo run --example worker [URL]`. Without a URL the example starts a broker in this process.

use std::error::Error;
use std::thread;
use std::time::Duration;

use mqtt_client::{Client, InboundMessage, QoS, ReasonCode, SessionRetention};
use mqtt_test_broker::TestBroker;

const JOBS: usize = 20;

fn work(job: &InboundMessage) -> Result<usize, Box<dyn Error>> {
    Ok(job.text().ok_or("no text")?.parse()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let url = std::env::args().nth(1).unwrap_or_else(|| broker.url());

    // While no worker is connected, the broker keeps jobs for an hour.
    let client = Client::builder()
        .url(&url)?
        .client_identifier("worker")
        .session(SessionRetention::For(Duration::from_secs(3600)))
        .connect()?;
    client.subscribe("jobs", QoS::AtLeastOnce)?;

    let workers: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            thread::spawn(move || {
                let jobs = client.messages().with_manual_acknowledgement();
                for job in jobs {
                    match work(&job) {
                        Ok(_) => client.acknowledge(&job),
                        Err(_) => client.reject(&job, ReasonCode::PayloadFormatInvalid),
                    }
                }
            })
        })
        .collect();

    let publisher = Client::builder().url(&url)?.connect()?;
    for job in 0..JOBS {
        publisher.publish("jobs", job.to_string(), QoS::AtLeastOnce)?;
    }
    publisher.publish("jobs", "not a number", QoS::AtLeastOnce)?;
    publisher.disconnect(Duration::from_secs(10))?;

    client.disconnect(Duration::from_secs(10))?; // This ends the loops of the workers.
    for worker in workers {
        worker.join().expect("no worker panics");
    }
    println!("all workers have ended");
    Ok(())
}
