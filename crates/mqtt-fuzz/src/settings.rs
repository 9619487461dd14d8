//! Parses arbitrary configuration files. A file is accepted, or rejected with one line that names the file and the
//! line.

use std::path::Path;

use mqtt_broker::BrokerConfig;

/// Parses a configuration file.
///
/// # Panics
/// If an error is not one line that names the file and the line.
pub fn settings(input: &[u8]) {
    let Err(error) = BrokerConfig::parse(Path::new("test.conf"), input) else {
        return;
    };
    let text = error.to_string();
    assert!(text.contains("test.conf:"), "{text:?}");
    assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
}
