//! What a client has sent, packet by packet, without what chance decides.

use mqtt_codec::{Decoder, PacketRef};

/// The packets of one connection in words, one for each.
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

/// Random identifiers keep their length, and process numbers are all the same.
fn without_chance(identifier: &mut String) {
    if let Some(random) = identifier.strip_prefix("mosq-") {
        *identifier = format!("mosq- and {} characters", random.len());
    } else if identifier.starts_with("prefix") {
        *identifier = "prefix and process number".into();
    }
}
