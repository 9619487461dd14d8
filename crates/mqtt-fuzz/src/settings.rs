//! Configuration files: understood, or refused with one line that says where.

use std::path::Path;

use mqtt_broker::BrokerConfig;

/// The bytes of a file.
///
/// # Panics
/// If a refusal is not one line that names the file and the line.
pub fn settings(input: &[u8]) {
    let Err(error) = BrokerConfig::parse(Path::new("test.conf"), input) else {
        return;
    };
    let text = error.to_string();
    assert!(text.contains("test.conf:"), "{text:?}");
    assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
}
