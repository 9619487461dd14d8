//! The cases of mqtt-codec.

use std::hint::black_box;

use mqtt_codec::*;

use crate::{BATCH, Case, wire};

const fn ours(name: &'static str, run: fn(usize)) -> Case {
    let by = "mqtt-codec";
    Case { name, by, run }
}

pub const CASES: &[Case] = &[
    ours("decode PUBLISH 3.1.1", |count| {
        decode(count, &wire::publish_v3(), || {
            Decoder::client(ProtocolVersion::V3_1_1, u32::MAX)
        });
    }),
    ours("decode PUBLISH 5.0", |count| {
        decode(count, &wire::publish_v5(), || {
            Decoder::client(ProtocolVersion::V5_0, u32::MAX)
        });
    }),
    ours("encode PUBLISH 3.1.1", |count| {
        encode(count, ProtocolVersion::V3_1_1, &wire::message(false));
    }),
    ours("encode PUBLISH 5.0", |count| {
        encode(count, ProtocolVersion::V5_0, &wire::message(true));
    }),
    ours("decode CONNECT 3.1.1", |count| {
        decode_first(count, &wire::connect(ProtocolVersion::V3_1_1), None);
    }),
    ours("decode CONNECT 5.0", |count| {
        decode_first(count, &wire::connect(ProtocolVersion::V5_0), None);
    }),
    ours("decode SUBSCRIBE 3.1.1", |count| {
        let version = ProtocolVersion::V3_1_1;
        decode_first(
            count,
            &wire::subscribe(version),
            Some(wire::connect(version)),
        );
    }),
    ours("decode SUBSCRIBE 5.0", |count| {
        let version = ProtocolVersion::V5_0;
        decode_first(
            count,
            &wire::subscribe(version),
            Some(wire::connect(version)),
        );
    }),
];

/// Decodes a packet that a client receives, in batches.
fn decode(count: usize, packet: &[u8], decoder: fn() -> Decoder) {
    let bytes = packet.repeat(BATCH);
    for _ in 0..count / BATCH {
        let (mut decoder, mut input) = (decoder(), &bytes[..]);
        // Without `black_box` the compiler could leave out the decoding, whose result is not used.
        while let Some(packet) = decoder.decode(&mut input).expect("a packet") {
            black_box(&packet);
        }
    }
}

/// Decodes a packet that a server receives: CONNECT, or another packet after `connect`.
fn decode_first(count: usize, packet: &[u8], connect: Option<Vec<u8>>) {
    let mut fresh = Decoder::server(u32::MAX);
    if let Some(connect) = connect {
        fresh.decode(&mut &connect[..]).expect("CONNECT");
    }
    for _ in 0..count {
        // Each packet is the first one after CONNECT, so each repetition begins with a fresh decoder.
        let (mut decoder, mut input) = (fresh.clone(), packet);
        let _ = black_box(decoder.decode(&mut input).expect("a packet"));
    }
}

/// Encodes a message, in batches.
fn encode(count: usize, version: ProtocolVersion, message: &Message) {
    let mut out = Vec::new();
    for _ in 0..count / BATCH {
        // As in a connection, the buffer keeps its memory, so only the first batch allocates.
        out.clear();
        for _ in 0..BATCH {
            let packet = PacketRef::Publish(black_box(message).publish(Delivery::AtMostOnce));
            packet.encode(version, u32::MAX, &mut out).expect("it fits");
        }
        black_box(&out);
    }
}
