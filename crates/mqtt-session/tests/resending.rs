//! A client resumes its session at a server that now announces smaller limits.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::{Connect, Message, ProtocolVersion, QoS, ReasonCode, TopicName};
use mqtt_session::{Config, Connection, Event, OutboundMessage, Session};

/// Returns the connection after CONNACK with these properties, and the answers that the application gets. CONNECT is not
/// in the output any more.
fn connect(
    session: Session,
    now: Instant,
    session_present: bool,
    properties: &[u8],
) -> (Connection, Vec<(u16, ReasonCode)>) {
    let mut connect = Connect::new(ProtocolVersion::V5_0, "c");
    connect.clean_start = false;
    let mut connection =
        Connection::client(&connect, Some(session), Config::default(), now).unwrap();
    let count = connection.output().len();
    connection.consume_output(now, count);
    let count = u8::try_from(properties.len()).unwrap();
    let present = u8::from(session_present);
    let connack = [&[0x20, 3 + count, present, 0, count][..], properties].concat();
    let mut delivered = Vec::new();
    let mut input = &connack[..];
    while let Some(event) = connection.handle_input(now, &mut input) {
        if let Event::Delivered {
            packet_identifier,
            reason_code,
            ..
        } = event
        {
            delivered.push((packet_identifier.get(), reason_code));
        }
    }
    (connection, delivered)
}

#[test]
fn gives_up_only_the_message_that_the_server_no_longer_accepts() {
    for (properties, reason_code) in [
        (&[0x24, 1][..], ReasonCode::QoSNotSupported),
        (&[0x25, 0], ReasonCode::RetainNotSupported),
        (&[0x27, 0, 0, 0, 12], ReasonCode::PacketTooLarge),
    ] {
        let now = Instant::now();
        let (mut connection, _) = connect(Session::default(), now, false, &[]);
        for (payload, qos, retain) in [
            ("large", QoS::ExactlyOnce, true),
            ("s", QoS::AtLeastOnce, false),
        ] {
            let mut message = Message::new(TopicName::new("t").unwrap(), payload);
            message.retain = retain;
            let outgoing = OutboundMessage::new(Arc::new(message), qos);
            connection.publish(now, outgoing).unwrap();
        }
        let session = connection.take_session();
        let (connection, delivered) = connect(session, now, true, properties);
        assert_eq!(delivered, [(1, reason_code)]);
        // PUBREL ends the exchange of QoS 2, because the server may hold the packet identifier. The other message is
        // resent.
        assert_eq!(
            connection.output(),
            b"\x62\x02\x00\x01\x3a\x07\x00\x01t\x00\x02\x00s"
        );
    }
}
