//! UTF-8 strings in both ends: texts that are rejected in each string of each packet, and texts that are preserved.

use super::bytes::*;
use super::client::{Client, options};
use super::server::World;

/// Ill-formed UTF-8: an overlong form, a surrogate, a stray byte, a character above U+10FFFF, and a truncated
/// character.
const ILL_FORMED: [&[u8]; 5] = [
    b"a\xC0\x80",
    b"a\xED\xA0\x80",
    b"a\x80",
    b"a\xF4\x90\x80\x80",
    b"a\xE2\x82",
];

/// Returns packets of a client with this string in each place where a packet can have a string.
fn of_client(version: u8, bad: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let options = |body: Vec<u8>, extra: &[u8]| [body, extra.to_vec()].concat();
    let filters = |first: u8| {
        let head = [vec![0, 1], properties(version, &[])].concat();
        let tail: &[u8] = if first == 0x82 { &[0] } else { &[] };
        packet(first, &options([head, text(bad)].concat(), tail))
    };
    let mut packets = vec![
        (
            "3.1.1:MQTT-3.3.2-1 5.0:MQTT-3.3.2-1",
            publish(version, "", "x").topic(bad).into(),
        ),
        ("", filters(0x82)),
        ("", filters(0xA2)),
    ];
    if version == 5 {
        let with = |property: Vec<u8>| publish(5, "a", "x").property(&property).into();
        let pair = |name: &[u8], value: &[u8]| [vec![0x26], text(name), text(value)].concat();
        packets.extend([
            ("5.0:MQTT-3.3.2-13", with(text_property(0x08, bad))),
            ("5.0:MQTT-3.3.2-19", with(text_property(0x03, bad))),
            ("5.0:MQTT-1.5.7-1", with(pair(bad, b"x"))),
            ("5.0:MQTT-1.5.7-1", with(pair(b"x", bad))),
        ]);
    }
    packets
}

#[test]
fn ill_formed_strings_and_u0000_end_the_connection_at_the_server() {
    for version in [4, 5] {
        let well_formed = "3.1.1:MQTT-1.5.3-1 5.0:MQTT-1.5.4-1";
        let zero = "3.1.1:MQTT-1.5.3-2 3.1.1:MQTT-4.7.3-2 5.0:MQTT-1.5.4-2 5.0:MQTT-4.7.3-2";
        let bad = ILL_FORMED.iter().map(|bad| (well_formed, *bad));
        for (statements, bad) in bad.chain([(zero, &b"a\0b"[..])]) {
            for (more, packet) in of_client(version, bad) {
                let mut world = World::new();
                let peer = world.connect(connect(version, "c"));
                world.send(peer, packet);
                let statements = format!("{statements} {more}");
                world.shows_closed(peer, &statements, &goodbye(version, 0x81));
            }
            let user = connect(version, "c").flags(0x80).more(&text(bad));
            let mut will = connect(version, "c").flags(4);
            will.payload.extend(properties(version, &[]));
            will.payload.extend([text(bad), text("x")].concat());
            let mut named = connect(version, "");
            named.payload = text(bad);
            for connect in [user, will, named] {
                let mut world = World::new();
                let peer = world.try_connect(connect);
                world.shows_closed(peer, statements, &refused(version, 0x81));
            }
        }
    }
}

#[test]
fn ill_formed_strings_and_u0000_end_the_connection_at_the_client() {
    for version in [4, 5] {
        let well_formed = "3.1.1:MQTT-1.5.3-1 5.0:MQTT-1.5.4-1";
        let zero = "3.1.1:MQTT-1.5.3-2 3.1.1:MQTT-4.7.3-2 5.0:MQTT-1.5.4-2 5.0:MQTT-4.7.3-2";
        let bad = ILL_FORMED.iter().map(|bad| (well_formed, *bad));
        for (statements, bad) in bad.chain([(zero, &b"a\0b"[..])]) {
            // A server can also send the PUBLISH packets of this list.
            for (more, packet) in of_client(version, bad) {
                if packet[0] & 0xF0 == 0x30 {
                    let mut client = Client::connected(options(version));
                    client.receive(packet);
                    let statements = format!("{statements} {more}");
                    client.shows_closed(&statements, &goodbye(version, 0x81));
                }
            }
        }
    }
}

#[test]
fn u_feff_is_not_removed_from_strings() {
    let mark = "\u{FEFF}";
    for version in [4, 5] {
        let topic = format!("{mark}a/{mark}");
        let message = match version {
            5 => publish(5, &topic, "x").property(&user_property(mark, mark)),
            _ => publish(version, &topic, "x"),
        };
        let mut world = World::new();
        let peer = world.subscriber(connect(version, mark), &[(&format!("{mark}a/#"), 0)]);
        world.send(peer, message.clone());
        world.shows(
            peer,
            "3.1.1:MQTT-1.5.3-3 5.0:MQTT-1.5.4-3 5.0:MQTT-1.5.7-1",
            std::slice::from_ref(&message),
        );

        let mut client = Client::connected(options(version));
        client.receive(message);
        let expected = vec!["connected, 0 unfinished".to_owned(), format!("{topic} x 0")];
        client.proves(
            "3.1.1:MQTT-1.5.3-3 5.0:MQTT-1.5.4-3",
            client.events.clone(),
            expected,
        );
    }
}

#[test]
fn topics_are_up_to_65535_bytes_long() {
    for version in [4, 5] {
        let longest = "a".repeat(65535);
        let mut world = World::new();
        let peer = world.connect(connect(version, "c"));
        world.send(peer, subscribe(version, 1, &[(&longest, 0)]));
        world.send(peer, publish(version, &longest, "x"));
        let expected = [
            suback(version, 1, &[0]),
            publish(version, &longest, "x").into(),
        ];
        world.shows(peer, "3.1.1:MQTT-4.7.3-3 5.0:MQTT-4.7.3-3", &expected);

        let mut client = Client::connected(options(version));
        client.publish(&longest, "x", 0).unwrap();
        client.shows(
            "3.1.1:MQTT-4.7.3-3 5.0:MQTT-4.7.3-3",
            &[publish(version, &longest, "x")],
        );
        let too_long = mqtt_codec::TopicName::new(&"a".repeat(65536));
        client.proves(
            "3.1.1:MQTT-4.7.3-3 5.0:MQTT-4.7.3-3",
            too_long.is_err(),
            true,
        );
        let too_long = mqtt_codec::TopicFilter::new(&"a".repeat(65536));
        client.proves(
            "3.1.1:MQTT-4.7.3-3 5.0:MQTT-4.7.3-3",
            too_long.is_err(),
            true,
        );
    }
}
