//! Tests of packets that violate the protocol: some end the connection, others are reported.

use mqtt_codec::*;
use mqtt_session::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::ends::Pair;

/// Each violation ends the connection. DISCONNECT of MQTT 5.0 reports the reason code (MQTT 5.0, 4.13).
#[test]
fn protocol_violations_end_the_connection_with_their_reason() {
    let table: [(&[u8], ReasonCode); 8] = [
        (&[0xC1, 0], ReasonCode::MalformedPacket),
        (&[0x10, 0], ReasonCode::ProtocolError),
        (
            &[0x30, 8, 0, 1, b't', 3, 0x23, 0, 1, b'x'],
            ReasonCode::TopicAliasInvalid,
        ),
        (&[0x30, 4, 0, 1, b'+', 0], ReasonCode::TopicNameInvalid),
        (&[0x30, 0xFF, 0xFF, 0xFF, 0x7F], ReasonCode::PacketTooLarge),
        (
            &[0xF0, 6, 0x18, 4, 0x15, 0, 1, b'M'],
            ReasonCode::ProtocolError,
        ),
        (
            &[0x82, 7, 0, 1, 0, 0, 1, b'#', 3],
            ReasonCode::ProtocolError,
        ),
        (&[0x62, 2, 0, 0], ReasonCode::ProtocolError),
    ];
    for (bytes, reason_code) in table {
        let connect = Connect {
            clean_start: false,
            ..Connect::new(V5_0, "c")
        };
        let config = Config {
            maximum_packet_size: 1000,
            ..Config::default()
        };
        let mut pair = Pair::with(connect, config);
        pair.settle();
        pair.server.handle(pair.now, bytes);
        let reason = pair.server.closed.take().expect("the connection is over");
        assert_eq!(reason.reason_code(), Some(reason_code), "{bytes:x?}");
        assert_eq!(
            pair.server.take_output(usize::MAX),
            [0xE0, 1, reason_code.value()]
        );
        pair.server.handle(pair.now, &[0xC0, 0]);
        assert_eq!(
            pair.server.take_output(usize::MAX),
            [],
            "nothing is answered after the end"
        );
    }
}

#[test]
fn wrong_acknowledgements_end_the_connection_and_unknown_ones_do_not() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.client.handle(
        pair.now,
        &[0x40, 2, 0, 9, 0x50, 2, 0, 9, 0x70, 2, 0, 9, 0x62, 2, 0, 9],
    );
    assert_eq!(pair.client.closed, None);
    let answers = [0x62, 2, 0, 9, 0x70, 2, 0, 9];
    assert_eq!(
        pair.client.take_output(usize::MAX),
        answers,
        "so that the peer can finish"
    );
    pair.publish("1", QoS::AtLeastOnce).unwrap();
    pair.client.handle(pair.now, &[0x50, 2, 0, 1]);
    assert!(matches!(
        pair.client.closed,
        Some(CloseReason::Protocol(..))
    ));
}

/// A server must send one reason code for each topic filter (U5-24 in docs/generated/conformance.md). Some devices do
/// not, and the client uses the reason codes that they send.
#[test]
fn wrong_number_of_reason_codes_is_reported_without_closing() {
    for (suback, deviations) in [
        (&[0x90, 4, 0, 1, 0, 1][..], 0),
        (&[0x90, 3, 0, 1, 0], 1),
        (&[0x90, 5, 0, 1, 0, 1, 2], 1),
    ] {
        let mut pair = Pair::new(V3_1_1);
        pair.settle();
        let subscriptions = ["a", "b"].map(|filter| Subscription {
            topic_filter: TopicFilter::new(filter).unwrap(),
            options: SubscriptionOptions::new(QoS::AtLeastOnce),
        });
        let properties = SubscribeProperties::default();
        pair.client
            .connection
            .subscribe(pair.now, subscriptions.into(), properties)
            .unwrap();
        pair.client.handle(pair.now, suback);
        pair.client.handle(pair.now, &[]);
        assert_eq!(pair.client.closed, None);
        assert_eq!(pair.client.other.len(), 1 + deviations);
    }
}

/// A server must not set DUP at QoS 0 [MQTT-3.3.1-2].
#[test]
fn dup_with_qos_0_is_accepted_from_a_server_and_reported_once() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    let message = [0x38, 4, 0, 1, b'a', b'x'];
    pair.client.handle(pair.now, &message.repeat(3));
    assert_eq!(pair.client.closed, None);
    assert_eq!(pair.client.other.len(), 1, "{:?}", pair.client.other);
    assert_eq!(pair.client.messages.len(), 3);
    pair.server.handle(pair.now, &message);
    assert_eq!(
        pair.server.closed,
        Some(CloseReason::Decode(DecodeError::QoS))
    );
}
