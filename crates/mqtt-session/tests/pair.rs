//! Tests with a client and a server that are connected in memory. Both ends are a [`Connection`]. The network link
//! between them can be cut after any byte.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use mqtt_session::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

/// One end of the connection with its application, which acknowledges every message immediately by default.
struct End {
    connection: Connection,
    input: Vec<u8>,
    /// Payloads of the messages that were delivered to the application, in order.
    messages: Vec<Vec<u8>>,
    delivered: Vec<(u16, ReasonCode)>,
    other: Vec<String>,
    closed: Option<CloseReason>,
    /// Server: session of the last connection, with which the server answers CONNECT.
    session: Option<Session>,
    /// Client: unfinished messages of a lost session.
    unfinished: Vec<OutboundMessage>,
    auto_acknowledge: bool,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            input: Vec::new(),
            messages: Vec::new(),
            delivered: Vec::new(),
            other: Vec::new(),
            closed: None,
            session: None,
            unfinished: Vec::new(),
            auto_acknowledge: true,
        }
    }

    fn handle(&mut self, now: Instant, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let buffer = std::mem::take(&mut self.input);
        let mut input = &buffer[..];
        while let Some(event) = self.connection.handle_input(now, &mut input) {
            match event {
                Event::Connect(_) => {
                    let session = self.session.take();
                    self.connection
                        .accept(now, session, ConnackProperties::default());
                }
                Event::Connected { unfinished, .. } => self.unfinished.extend(unfinished),
                Event::Message(received) => {
                    let publish = received.publish();
                    self.messages.push(publish.payload.to_vec());
                    if let Some(identifier) = publish.delivery.packet_identifier() {
                        if self.auto_acknowledge {
                            self.connection
                                .acknowledge(now, identifier, ReasonCode::Success);
                        }
                    }
                }
                Event::Delivered {
                    packet_identifier,
                    reason_code,
                    ..
                } => {
                    self.delivered.push((packet_identifier.get(), reason_code));
                }
                Event::Closed(reason) => self.closed = Some(reason),
                Event::Subscribe(subscribe) => {
                    let codes = subscribe.subscriptions.iter();
                    let codes = codes.map(|s| ReasonCode::granted(s.options.qos)).collect();
                    let suback = Suback::new(subscribe.packet_identifier, codes);
                    self.connection.suback(now, suback);
                }
                other => self.other.push(format!("{other:?}")),
            }
        }
        self.input = input.to_vec();
    }

    fn take_output(&mut self, limit: usize) -> Vec<u8> {
        let pending = self.connection.output();
        let bytes = pending[..pending.len().min(limit)].to_vec();
        self.connection.consume_output(Instant::now(), bytes.len());
        bytes
    }
}

struct Pair {
    now: Instant,
    connect: Connect,
    config: Config,
    client: End,
    server: End,
}

impl Pair {
    fn new(version: ProtocolVersion) -> Self {
        Self::with(
            Connect {
                clean_start: false,
                ..Connect::new(version, "c")
            },
            Config::default(),
        )
    }

    fn with(connect: Connect, config: Config) -> Self {
        let now = Instant::now();
        let client =
            Connection::client(&connect, Some(Session::default()), config.clone(), now).unwrap();
        let server = Connection::server(config.clone(), now);
        Self {
            now,
            connect,
            config,
            client: End::new(client),
            server: End::new(server),
        }
    }

    /// Transmits bytes in both directions until no end sends more, or until `budget` bytes have arrived.
    fn run(&mut self, budget: &mut usize) {
        loop {
            let up = self.client.take_output(*budget);
            *budget -= up.len();
            self.server.handle(self.now, &up);
            let down = self.server.take_output(*budget);
            *budget -= down.len();
            self.client.handle(self.now, &down);
            if up.is_empty() && down.is_empty() {
                return;
            }
        }
    }

    fn settle(&mut self) {
        self.run(&mut usize::MAX.clone());
    }

    /// Cuts the link. Both ends notice the cut and connect again. The server resumes its session if
    /// `server_keeps_session` is `true`.
    fn reconnect(&mut self, server_keeps_session: bool) {
        self.now += Duration::from_secs(1);
        let fresh = Connection::server(self.config.clone(), self.now);
        let mut old = std::mem::replace(&mut self.server.connection, fresh);
        let connected = old.is_connected() || old.unfinished_received() > 0;
        if connected && server_keeps_session {
            self.server.session = Some(old.take_session());
        }
        let next = Connection::server(self.config.clone(), self.now);
        let mut old = std::mem::replace(&mut self.client.connection, next);
        self.client.connection = Connection::client(
            &self.connect,
            Some(old.take_session()),
            self.config.clone(),
            self.now,
        )
        .unwrap();
        self.client.input.clear();
        self.server.input.clear();
    }

    fn publish(&mut self, payload: &'static str, qos: QoS) -> Result<Option<u16>, PublishError> {
        let identifier = self
            .client
            .connection
            .publish(self.now, outbound(payload, qos))?;
        Ok(identifier.map(PacketIdentifier::get))
    }
}

fn outbound(payload: &'static str, qos: QoS) -> OutboundMessage {
    let message = Message::new(TopicName::new("t").unwrap(), payload);
    OutboundMessage::new(Arc::new(message), qos)
}

#[test]
fn messages_of_each_qos_are_delivered_in_both_directions_in_each_version() {
    for version in [V3_1, V3_1_1, V5_0] {
        let mut pair = Pair::new(version);
        pair.settle();
        for (payload, qos) in [
            ("0", QoS::AtMostOnce),
            ("1", QoS::AtLeastOnce),
            ("2", QoS::ExactlyOnce),
        ] {
            pair.publish(payload, qos).unwrap();
            pair.server
                .connection
                .publish(pair.now, outbound(payload, qos))
                .unwrap();
        }
        pair.settle();
        for end in [&pair.client, &pair.server] {
            assert_eq!(end.messages, [b"0", b"1", b"2"], "{version}");
            assert_eq!(
                end.delivered,
                [(1, ReasonCode::Success), (2, ReasonCode::Success)]
            );
            assert_eq!(
                (
                    end.connection.unfinished_sent(),
                    end.connection.unfinished_received()
                ),
                (0, 0)
            );
        }
    }
}

/// The exchange has the four packets of MQTT 5.0, figure 4.3.
#[test]
fn delivery_of_qos_2_takes_four_packets() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.publish("x", QoS::ExactlyOnce).unwrap();
    let publish = pair.client.take_output(usize::MAX);
    assert_eq!(publish, [0x34, 6, 0, 1, b't', 0, 1, b'x']);
    pair.server.handle(pair.now, &publish);
    let pubrec = pair.server.take_output(usize::MAX);
    assert_eq!(pubrec, [0x50, 2, 0, 1]);
    pair.client.handle(pair.now, &pubrec);
    let pubrel = pair.client.take_output(usize::MAX);
    assert_eq!(pubrel, [0x62, 2, 0, 1]);
    pair.server.handle(pair.now, &pubrel);
    assert_eq!(pair.server.take_output(usize::MAX), [0x70, 2, 0, 1]);
}

/// Each run cuts the link twice. The runs try all pairs of byte counts below 60 [MQTT-4.3.3-10, MQTT-4.4.0-1].
#[test]
fn two_lost_connections_cause_neither_loss_nor_duplicates() {
    for version in [V3_1_1, V5_0] {
        for from_server in [false, true] {
            let mut runs = 0;
            for first in 0..60 {
                for second in 0..60 {
                    let mut pair = Pair::new(version);
                    pair.settle();
                    for (payload, qos) in [("1", QoS::AtLeastOnce), ("2", QoS::ExactlyOnce)] {
                        let end = if from_server {
                            &mut pair.server
                        } else {
                            &mut pair.client
                        };
                        end.connection
                            .publish(pair.now, outbound(payload, qos))
                            .unwrap();
                    }
                    for cut in [first, second] {
                        pair.run(&mut { cut });
                        pair.reconnect(true);
                    }
                    pair.settle();
                    let (sender, receiver) = if from_server {
                        (&pair.server, &pair.client)
                    } else {
                        (&pair.client, &pair.server)
                    };
                    let count =
                        |payload: &[u8]| receiver.messages.iter().filter(|m| *m == payload).count();
                    assert_eq!(count(b"2"), 1, "{version} {from_server} {first} {second}");
                    assert!(count(b"1") >= 1, "{version} {from_server} {first} {second}");
                    assert_eq!(sender.connection.unfinished_sent(), 0);
                    assert_eq!(receiver.connection.unfinished_received(), 0);
                    runs += 1;
                }
            }
            assert_eq!(runs, 3600);
        }
    }
}

#[test]
fn session_lost_by_the_server_returns_messages_that_it_did_not_accept() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.publish("released", QoS::ExactlyOnce).unwrap();
    pair.run(&mut 19); // PUBLISH and PUBREC arrive; PUBREL does not.
    pair.publish("open", QoS::AtLeastOnce).unwrap();
    pair.reconnect(false);
    pair.settle();
    let payloads: Vec<_> = pair
        .client
        .unfinished
        .iter()
        .map(|o| &o.message.payload[..])
        .collect();
    assert_eq!(payloads, [b"open"]);
    assert_eq!(pair.client.connection.unfinished_sent(), 0);
}

/// An application may fail to acknowledge a message. The other messages must still be delivered, even after the packet
/// identifiers have wrapped around several times.
#[test]
fn message_without_acknowledgement_does_not_delay_later_ones() {
    let mut pair = Pair::new(V5_0);
    pair.settle();
    pair.client.auto_acknowledge = false;
    let stuck = pair
        .server
        .connection
        .publish(pair.now, outbound("stuck", QoS::AtLeastOnce))
        .unwrap();
    for _ in 0..150_000 {
        let identifier = pair
            .server
            .connection
            .publish(pair.now, outbound("x", QoS::AtLeastOnce))
            .unwrap();
        assert_ne!(identifier, stuck);
        pair.settle();
        let identifier = identifier.unwrap();
        pair.client
            .connection
            .acknowledge(pair.now, identifier, ReasonCode::Success);
        pair.settle();
    }
    assert_eq!(pair.server.connection.unfinished_sent(), 1);
    assert_eq!(pair.client.messages.len(), 150_001);
    pair.server
        .connection
        .publish(pair.now, outbound("last", QoS::AtLeastOnce))
        .unwrap();
    pair.reconnect(true);
    pair.client.auto_acknowledge = true;
    pair.settle();
    // The messages are resent in the order in which they were first sent [MQTT-4.6.0-1].
    assert_eq!(pair.client.messages[150_001..], [&b"stuck"[..], b"last"]);
    assert_eq!(pair.server.connection.unfinished_sent(), 0);
}

/// The Receive Maximum of the peer must not be exceeded [MQTT-3.3.4-9, MQTT-4.9.0-2].
#[test]
fn receive_maximum_and_own_limit_bound_messages_in_flight() {
    let mut connect = Connect {
        clean_start: false,
        ..Connect::new(V5_0, "c")
    };
    connect.properties.receive_maximum = std::num::NonZeroU16::new(2);
    let mut pair = Pair::with(
        connect,
        Config {
            maximum_in_flight: 3,
            ..Config::default()
        },
    );
    pair.settle();
    pair.client.auto_acknowledge = false;
    let mut publish = || {
        pair.server
            .connection
            .publish(pair.now, outbound("x", QoS::AtLeastOnce))
    };
    assert!(publish().is_ok() && publish().is_ok());
    assert_eq!(publish(), Err(PublishError::QuotaUsedUp));
    pair.settle();
    pair.client
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    pair.settle();
    let mut publish = || {
        pair.server
            .connection
            .publish(pair.now, outbound("x", QoS::ExactlyOnce))
    };
    assert!(publish().is_ok());
    assert_eq!(publish(), Err(PublishError::QuotaUsedUp));
    for _ in 0..3 {
        pair.publish("y", QoS::AtLeastOnce).unwrap();
    }
    assert_eq!(
        pair.publish("y", QoS::AtLeastOnce),
        Err(PublishError::QuotaUsedUp)
    );
    assert_eq!(
        pair.publish("y", QoS::AtMostOnce),
        Ok(None),
        "QoS 0 has no window"
    );
}

#[test]
fn messages_are_not_acknowledged_before_the_application_does() {
    let mut pair = Pair::new(V5_0);
    pair.settle();
    pair.server.auto_acknowledge = false;
    pair.publish("1", QoS::AtLeastOnce).unwrap();
    pair.publish("2", QoS::ExactlyOnce).unwrap();
    pair.settle();
    assert_eq!(pair.server.messages.len(), 2);
    assert_eq!(pair.client.delivered, []);
    let second = PacketIdentifier::new(2).unwrap();
    pair.server
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    pair.server
        .connection
        .acknowledge(pair.now, second, ReasonCode::QuotaExceeded);
    pair.settle();
    let expected = [(1, ReasonCode::Success), (2, ReasonCode::QuotaExceeded)];
    assert_eq!(pair.client.delivered, expected);
    assert_eq!(pair.client.connection.unfinished_sent(), 0);
}

/// Rule 2 of the crate documentation: the application accepts the message after the socket was closed.
#[test]
fn acknowledging_after_the_connection_holds_the_identifier() {
    let mut pair = Pair::new(V3_1_1);
    pair.settle();
    pair.server.auto_acknowledge = false;
    pair.publish("2", QoS::ExactlyOnce).unwrap();
    pair.settle();
    pair.server.connection.handle_close();
    pair.server
        .connection
        .acknowledge(pair.now, PacketIdentifier::FIRST, ReasonCode::Success);
    assert!(pair.server.connection.output().is_empty());
    pair.server.auto_acknowledge = true;
    pair.reconnect(true);
    pair.settle();
    assert_eq!(pair.server.messages, [b"2"]);
    assert_eq!(pair.client.delivered, [(1, ReasonCode::Success)]);
}

/// A server that resumes a session which the client does not have violates the protocol [MQTT-3.2.2-4].
#[test]
fn client_without_state_rejects_session_present() {
    for (clean_start, session) in [(true, Some(Session::default())), (false, None)] {
        let now = Instant::now();
        let connect = Connect {
            clean_start,
            ..Connect::new(V5_0, "c")
        };
        let mut client =
            End::new(Connection::client(&connect, session, Config::default(), now).unwrap());
        client.handle(now, &[0x20, 3, 1, 0, 0]);
        assert!(matches!(
            client.closed,
            Some(CloseReason::Protocol(ReasonCode::ProtocolError, _))
        ));
    }
}

#[test]
fn rejection_has_the_code_of_each_version() {
    for (version, bytes) in [
        (V3_1_1, &[0x20, 2, 0, 5][..]),
        (V5_0, &[0x20, 3, 0, 0x87, 0]),
    ] {
        let mut pair = Pair::new(version);
        let connect = pair.client.take_output(usize::MAX);
        let mut input = &connect[..];
        let event = pair.server.connection.handle_input(pair.now, &mut input);
        assert!(matches!(event, Some(Event::Connect(_))));
        let properties = ConnackProperties::default();
        pair.server
            .connection
            .refuse(pair.now, ReasonCode::NotAuthorized, properties);
        assert!(pair.server.connection.has_ended());
        assert_eq!(pair.server.connection.output(), bytes);
        pair.settle();
        let Some(CloseReason::Refused(connack)) = &pair.client.closed else {
            panic!()
        };
        assert_eq!(connack.reason_code, ReasonCode::NotAuthorized);
    }
}

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

#[test]
fn unsupported_version_is_answered_in_a_form_that_the_client_understands() {
    let mut connect = vec![
        0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 6, 2, 0, 60, 0, 1, b'c',
    ];
    for (level, answer) in [(6, &[0x20, 3, 0, 0x84, 0][..]), (3, &[0x20, 2, 0, 1])] {
        connect[8] = level;
        let now = Instant::now();
        let mut server = End::new(Connection::server(Config::default(), now));
        server.handle(now, &connect);
        assert!(server.closed.is_some());
        assert_eq!(server.take_output(usize::MAX), answer);
    }
}

/// Both ends close the connection if the handshake takes too long (U3-07 in docs/generated/conformance.md).
#[test]
fn handshakes_have_a_deadline() {
    let mut pair = Pair::new(V5_0);
    let deadline = pair.now + Duration::from_secs(10);
    for end in [&mut pair.client, &mut pair.server] {
        assert_eq!(end.connection.poll_timeout(), Some(deadline));
        end.connection
            .handle_timeout(deadline - Duration::from_nanos(1));
        end.handle(pair.now, &[]);
        assert_eq!(end.closed, None);
        end.connection.handle_timeout(deadline);
        end.handle(deadline, &[]);
        assert_eq!(end.closed, Some(CloseReason::HandshakeTimeout));
    }
}

#[test]
fn pings_keep_an_idle_connection_and_missing_pings_end_it() {
    let mut pair = Pair::new(V5_0); // keep alive 60 s
    pair.settle();
    for _ in 0..10 {
        pair.now += Duration::from_secs(60);
        pair.client.connection.handle_timeout(pair.now);
        pair.server.connection.handle_timeout(pair.now);
        pair.settle();
    }
    assert_eq!((&pair.client.closed, &pair.server.closed), (&None, &None));
    pair.now += Duration::from_secs(90);
    pair.server.connection.handle_timeout(pair.now);
    pair.server.handle(pair.now, &[]);
    assert_eq!(pair.server.closed, Some(CloseReason::KeepAliveTimeout));
    assert_eq!(pair.server.take_output(usize::MAX), [0xE0, 1, 0x8D]);
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

/// A server must not send a packet above the Maximum Packet Size of the client [MQTT-3.1.2-24, MQTT-3.1.2-25].
#[test]
fn sends_no_packet_above_the_limit_of_the_peer() {
    let mut connect = Connect {
        clean_start: false,
        ..Connect::new(V5_0, "c")
    };
    connect.properties.maximum_packet_size = std::num::NonZeroU32::new(20);
    let mut pair = Pair::with(connect, Config::default());
    pair.settle();
    let large = outbound("0123456789abcdef", QoS::AtLeastOnce);
    let result = pair.server.connection.publish(pair.now, large);
    assert_eq!(
        result,
        Err(PublishError::Encode(EncodeError::PacketTooLarge(24)))
    );
    assert!(pair.server.connection.output().is_empty());
    assert_eq!(
        pair.server.connection.unfinished_sent(),
        0,
        "no place in the window is lost"
    );
}
