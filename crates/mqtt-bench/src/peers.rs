//! The cases of public codecs, which do the same operations through their own interfaces.

use std::hint::black_box;
use std::sync::Arc;

use bytes::BytesMut;
use mqtt_codec::ProtocolVersion;
use mqtt_protocol_core::mqtt::packet::{v3_1_1, v5_0};

use crate::{BATCH, Case, wire};

const LIMIT: usize = 1 << 20;

const fn case(name: &'static str, by: &'static str, run: fn(usize)) -> Case {
    Case { name, by, run }
}

const RUMQTTC: &str = "rumqttc";
const MQTTBYTES: &str = "mqttbytes";
const CORE: &str = "mqtt-protocol-core";

pub const CASES: &[Case] = &[
    case("decode PUBLISH 3.1.1", "memcpy of 64 bytes", |count| {
        let mut out = [0; 64];
        for _ in 0..count {
            black_box(&mut out).copy_from_slice(black_box(wire::PAYLOAD));
        }
    }),
    case("decode PUBLISH 3.1.1", RUMQTTC, |count| {
        decode(count, &wire::publish_v3(), rumqttc_v3)
    }),
    case("decode PUBLISH 3.1.1", MQTTBYTES, |count| {
        decode(count, &wire::publish_v3(), mqttbytes_v3)
    }),
    case("decode PUBLISH 3.1.1", CORE, |count| {
        let packet = wire::publish_v3();
        for _ in 0..count {
            let body = Arc::from(&black_box(&packet)[2..]);
            black_box(v3_1_1::Publish::parse(packet[0] & 15, body)).expect("a packet");
        }
    }),
    case("decode PUBLISH 5.0", RUMQTTC, |count| {
        decode(count, &wire::publish_v5(), rumqttc_v5)
    }),
    case("decode PUBLISH 5.0", MQTTBYTES, |count| {
        decode(count, &wire::publish_v5(), mqttbytes_v5)
    }),
    case("decode PUBLISH 5.0", CORE, |count| {
        let packet = wire::publish_v5();
        for _ in 0..count {
            let body = Arc::from(&black_box(&packet)[2..]);
            black_box(v5_0::Publish::parse(packet[0] & 15, body)).expect("a packet");
        }
    }),
    case("encode PUBLISH 3.1.1", RUMQTTC, |count| {
        let mut packet = BytesMut::from(&wire::publish_v3()[..]);
        let packet = rumqttc::mqttbytes::v4::Packet::read(&mut packet, LIMIT).expect("a packet");
        encode(count, |out| {
            packet.write(out, LIMIT).expect("it fits");
        });
    }),
    case("encode PUBLISH 5.0", RUMQTTC, |count| {
        let mut packet = BytesMut::from(&wire::publish_v5()[..]);
        let packet = rumqttc::v5::mqttbytes::v5::Packet::read(&mut packet, None).expect("a packet");
        encode(count, |out| {
            packet.write(out, None).expect("it fits");
        });
    }),
    case("encode PUBLISH 3.1.1", MQTTBYTES, |count| {
        let mut packet = BytesMut::from(&wire::publish_v3()[..]);
        let Ok(mqttbytes::v4::Packet::Publish(publish)) = mqttbytes::v4::read(&mut packet, LIMIT)
        else {
            panic!("a PUBLISH");
        };
        encode(count, |out| {
            publish.write(out).expect("it fits");
        });
    }),
    case("encode PUBLISH 5.0", MQTTBYTES, |count| {
        let mut packet = BytesMut::from(&wire::publish_v5()[..]);
        let Ok(mqttbytes::v5::Packet::Publish(publish)) = mqttbytes::v5::read(&mut packet, LIMIT)
        else {
            panic!("a PUBLISH");
        };
        encode(count, |out| {
            publish.write(out).expect("it fits");
        });
    }),
    case("encode PUBLISH 3.1.1", CORE, |count| {
        let packet = wire::publish_v3();
        let publish = v3_1_1::Publish::parse(packet[0] & 15, Arc::from(&packet[2..]))
            .expect("a packet")
            .0;
        (0..count).for_each(|_| drop(black_box(publish.to_continuous_buffer())));
    }),
    case("encode PUBLISH 5.0", CORE, |count| {
        let packet = wire::publish_v5();
        let publish = v5_0::Publish::parse(packet[0] & 15, Arc::from(&packet[2..]))
            .expect("a packet")
            .0;
        (0..count).for_each(|_| drop(black_box(publish.to_continuous_buffer())));
    }),
    case("decode CONNECT 3.1.1", RUMQTTC, |count| {
        decode(count, &wire::connect(ProtocolVersion::V3_1_1), rumqttc_v3);
    }),
    case("decode CONNECT 3.1.1", MQTTBYTES, |count| {
        decode(count, &wire::connect(ProtocolVersion::V3_1_1), mqttbytes_v3);
    }),
    case("decode CONNECT 3.1.1", CORE, |count| {
        let packet = wire::connect(ProtocolVersion::V3_1_1);
        for _ in 0..count {
            black_box(v3_1_1::Connect::parse(&black_box(&packet)[2..])).expect("a packet");
        }
    }),
    case("decode CONNECT 5.0", RUMQTTC, |count| {
        decode(count, &wire::connect(ProtocolVersion::V5_0), rumqttc_v5);
    }),
    case("decode CONNECT 5.0", CORE, |count| {
        let packet = wire::connect(ProtocolVersion::V5_0);
        for _ in 0..count {
            black_box(v5_0::Connect::parse(&black_box(&packet)[2..])).expect("a packet");
        }
    }),
    case("decode SUBSCRIBE 3.1.1", RUMQTTC, |count| {
        decode(count, &wire::subscribe(ProtocolVersion::V3_1_1), rumqttc_v3);
    }),
    case("decode SUBSCRIBE 3.1.1", MQTTBYTES, |count| {
        decode(
            count,
            &wire::subscribe(ProtocolVersion::V3_1_1),
            mqttbytes_v3,
        );
    }),
    case("decode SUBSCRIBE 3.1.1", CORE, |count| {
        let packet = wire::subscribe(ProtocolVersion::V3_1_1);
        for _ in 0..count {
            black_box(v3_1_1::Subscribe::parse(&black_box(&packet)[2..])).expect("a packet");
        }
    }),
    case("decode SUBSCRIBE 5.0", RUMQTTC, |count| {
        decode(count, &wire::subscribe(ProtocolVersion::V5_0), rumqttc_v5);
    }),
    case("decode SUBSCRIBE 5.0", CORE, |count| {
        let packet = wire::subscribe(ProtocolVersion::V5_0);
        for _ in 0..count {
            black_box(v5_0::Subscribe::parse(&black_box(&packet)[2..])).expect("a packet");
        }
    }),
];

fn rumqttc_v3(input: &mut BytesMut) {
    black_box(rumqttc::mqttbytes::v4::Packet::read(input, LIMIT)).expect("a packet");
}

fn rumqttc_v5(input: &mut BytesMut) {
    black_box(rumqttc::v5::mqttbytes::v5::Packet::read(input, None)).expect("a packet");
}

fn mqttbytes_v3(input: &mut BytesMut) {
    black_box(mqttbytes::v4::read(input, LIMIT)).expect("a packet");
}

fn mqttbytes_v5(input: &mut BytesMut) {
    black_box(mqttbytes::v5::read(input, LIMIT)).expect("a packet");
}

fn decode(count: usize, packet: &[u8], read: fn(&mut BytesMut)) {
    let bytes = packet.repeat(BATCH);
    let mut input = BytesMut::with_capacity(2 * bytes.len());
    for _ in 0..count / BATCH {
        input.extend_from_slice(&bytes);
        (0..BATCH).for_each(|_| read(&mut input));
    }
}

fn encode(count: usize, write: impl Fn(&mut BytesMut)) {
    let mut out = BytesMut::new();
    for _ in 0..count / BATCH {
        out.clear();
        (0..BATCH).for_each(|_| write(&mut out));
        black_box(&out);
    }
}
