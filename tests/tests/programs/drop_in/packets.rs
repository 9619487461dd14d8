//! Decodes the packets that a client has sent, and removes random parts.

use mqtt_codec::{Decoder, PacketRef};

/// Returns the packets of one connection, each as a text.
pub(crate) fn packets(bytes: &[u8]) -> Vec<String> {
    let mut decoder = Decoder::server(mqtt_codec::MAXIMUM_PACKET_SIZE);
    let mut rest = bytes;
    let mut words = Vec::new();
    loop {
        match decoder.decode(&mut rest) {
            Ok(Some(mut packet)) => {
                if let PacketRef::Connect(connect) = &mut packet {
                    without_chance(&mut connect.client_identifier);
                }
                words.push(format!("{packet:?}"));
            }
            Ok(None) => break,
            Err(error) => {
                words.push(format!("{error}: {rest:?}"));
                break;
            }
        }
    }
    if !rest.is_empty() {
        words.push(format!("rest {rest:?}"));
    }
    words
}

/// Replaces random identifiers by a text of the same length, and process numbers by one number.
fn without_chance(identifier: &mut String) {
    if let Some(random) = identifier.strip_prefix("mosq-") {
        *identifier = format!("mosq- and {} characters", random.len());
    } else if identifier.starts_with("prefix") {
        *identifier = "prefix and process number".into();
    }
}
