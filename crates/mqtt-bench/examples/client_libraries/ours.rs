//! Publishes with `mqtt-client`.

use std::num::NonZeroU16;
use std::time::Duration;

use mqtt_client::{Client, ProtocolVersion, QoS};

use crate::{IN_FLIGHT, PAYLOAD, QUEUE, Result};

pub(crate) fn publish(qos: u8, messages: usize, port: u16) -> Result<()> {
    let qos = QoS::from_value(qos).ok_or("no QoS")?;
    let client = Client::builder()
        .host("127.0.0.1", port)
        .protocol_version(ProtocolVersion::V3_1_1)
        .maximum_in_flight(NonZeroU16::new(IN_FLIGHT).ok_or("not zero")?)
        .outgoing_queue(QUEUE, usize::MAX)
        .connect()?;
    for _ in 0..messages {
        client.publish("bench/topic", PAYLOAD.to_vec(), qos)?;
    }
    client.disconnect(Duration::from_secs(600))?;
    Ok(())
}
