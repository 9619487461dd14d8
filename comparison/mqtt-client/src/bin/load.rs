//! `load publish|receive QOS MESSAGES PORT`: publishes messages until the broker has all of them, or receives the
//! messages that the broker has queued for a session. Prints the time in microseconds.

use std::error::Error;
use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use mqtt_client::{Client, ProtocolVersion, QoS, SessionRetention};

/// Maximum number of messages in flight. [`QUEUE`] is the maximum number in each queue of the library.
const IN_FLIGHT: NonZeroU16 = NonZeroU16::new(100).unwrap();
const QUEUE: u16 = 1000;
const PAYLOAD: [u8; 100] = [b'x'; 100];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [action, qos, messages, port] = &arguments[..] else {
        return Err("expected publish or receive, a QoS, a number of messages and a port".into());
    };
    let qos = QoS::from_value(qos.parse()?).ok_or("invalid QoS")?;
    let messages: usize = messages.parse()?;
    let builder = Client::builder()
        .host("127.0.0.1", port.parse()?)
        .protocol_version(ProtocolVersion::V3_1_1)
        .client_identifier("load")
        .maximum_in_flight(IN_FLIGHT)
        .outgoing_queue(QUEUE.into(), usize::MAX)
        .incoming_queue(QUEUE, usize::MAX);
    let start = Instant::now();
    let time = if action == "publish" {
        let client = builder.connect()?;
        for _ in 0..messages {
            client.publish("load", PAYLOAD.to_vec(), qos)?;
        }
        client.disconnect(Duration::from_secs(600))?;
        start.elapsed()
    } else {
        let client = builder.session(SessionRetention::Forever).connect()?;
        let received = client.messages().take(messages).count();
        if received < messages {
            return Err(format!("received {received} of {messages} messages").into());
        }
        // The time of the broker for the last acknowledgements does not count.
        let time = start.elapsed();
        client.disconnect(Duration::from_secs(600))?;
        time
    };
    println!("{}", time.as_micros());
    Ok(())
}
