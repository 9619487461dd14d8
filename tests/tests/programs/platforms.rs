//! Limits that differ between platforms: sizes beyond what 32 bits hold with ease.

use tests::{Broker, Kind, Program};

/// Payload of the largest packet, with a topic name of one byte: the remaining length is 268,435,455 with QoS 0, and the
/// length of the topic name takes two bytes.
const LARGEST: u64 = 268_435_455 - 3;

#[test]
#[ignore = "takes a gigabyte of memory: `cargo xtask emulate` runs it"]
fn largest_payload_is_delivered_completely() {
    let broker = Broker::start_silent(Kind::Rbroker, "max_packet_size 0");
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(LARGEST).unwrap();
    let subscriber = Program::new("rsub")
        .args(&broker.options())
        .args("-t t -C 1 -F %l -d")
        .start();
    subscriber.wait_for_error("Subscribed");
    let publisher = Program::new("rpub").args(&broker.options());
    publisher.args("-t t -f").arg(file.path()).run().success();
    let finished = subscriber.wait().success();
    assert_eq!(finished.text(), format!("{LARGEST}\n"));
}
