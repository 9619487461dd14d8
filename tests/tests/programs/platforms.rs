//! Sizes near the limits of MQTT, which 32-bit platforms may handle differently.

use tests::{Broker, Kind};

/// The largest payload for QoS 0 and a topic name of one byte. The remaining length is 268,435,455, and the topic name
/// takes three bytes of it with its length.
const LARGEST: u64 = 268_435_455 - 3;

#[test]
#[ignore = "takes a gigabyte of memory: `cargo xtask emulate` runs it"]
fn largest_payload_is_delivered_completely() {
    let broker = Broker::start_silent(Kind::Rbroker, "max_packet_size 0");
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LARGEST).unwrap();
    let subscriber = broker.program("rsub").args("-t t -C 1 -F %l -d").start();
    subscriber.wait_for_error("Subscribed");
    let publisher = broker.program("rpub");
    publisher.args("-t t -f").arg(file.path()).run().success();
    let finished = subscriber.wait().success();
    assert_eq!(finished.text(), format!("{LARGEST}\n"));
}
