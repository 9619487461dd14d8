//! Measures how long the client needs to publish messages until the broker has acknowledged all of them.
//!
//! `cargo run --release --example bench [MESSAGES [URL]]`. Without a URL the example starts a broker in this process.

use std::error::Error;
use std::time::{Duration, Instant};

use mqtt_client::{Bytes, Client, QoS};
use mqtt_test_broker::TestBroker;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let mut arguments = std::env::args().skip(1);
    let messages: u32 = arguments.next().map_or(Ok(10_000), |text| text.parse())?;
    let url = arguments.next().unwrap_or_else(|| broker.url());
    let payload = Bytes::from(vec![b'x'; 100]);
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let client = Client::builder().url(&url)?.connect()?;
        let start = Instant::now();
        for _ in 0..messages {
            client.publish("bench/topic", payload.clone(), qos)?;
        }
        client.disconnect(Duration::from_secs(60))?;
        let rate = f64::from(messages) / start.elapsed().as_secs_f64();
        println!("{qos:?}: {rate:.0} messages in a second");
    }
    Ok(())
}
