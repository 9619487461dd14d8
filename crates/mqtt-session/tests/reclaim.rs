//! Tests of packet identifiers after a client has lost its session state and the server resumes the session. The tests
//! compare the bytes of each packet.

use std::sync::Arc;
use std::time::Instant;

use mqtt_codec::*;
use mqtt_session::*;

use ProtocolVersion::{V3_1, V3_1_1, V5_0};

const VERSIONS: [ProtocolVersion; 3] = [V3_1, V3_1_1, V5_0];

/// Client that uses only three packet identifiers for messages.
struct Client {
    connection: Connection,
    now: Instant,
}

impl Client {
    /// Returns a client whose connection was accepted. `session_present` is the Session Present flag of CONNACK.
    fn connect(version: ProtocolVersion, session: Session, session_present: bool) -> Self {
        let connect = Connect {
            clean_start: false,
            ..Connect::new(version, "c")
        };
        let config = Config {
            packet_identifiers: 3,
            ..Config::default()
        };
        let now = Instant::now();
        let connection = Connection::client(&connect, Some(session), config, now).unwrap();
        let mut client = Self { connection, now };
        client.output();
        let present = u8::from(session_present);
        match version {
            V5_0 => client.input(&[0x20, 3, present, 0, 0]),
            V3_1 => client.input(&[0x20, 2, 0, 0]), // MQTT 3.1 has no Session Present flag.
            V3_1_1 => client.input(&[0x20, 2, present, 0]),
        }
        client
    }

    fn input(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.connection.handle_input(self.now, &mut bytes) {
            let is_expected = matches!(event, Event::Connected { .. } | Event::Delivered { .. });
            assert!(is_expected, "{event:?}");
        }
        assert!(bytes.is_empty());
    }

    fn output(&mut self) -> Vec<u8> {
        let bytes = self.connection.output().to_vec();
        self.connection.consume_output(self.now, bytes.len());
        bytes
    }

    /// Publishes a message of QoS 2 and returns its packet identifier.
    fn publish(&mut self) -> Result<u16, PublishError> {
        let message = Message::new(TopicName::new("t").unwrap(), "x");
        let outbound = OutboundMessage::new(Arc::new(message), QoS::ExactlyOnce);
        let identifier = self.connection.publish(self.now, outbound)?;
        Ok(identifier.unwrap().get())
    }

    fn subscribe(&mut self) -> u16 {
        let subscription = Subscription {
            topic_filter: TopicFilter::new("f").unwrap(),
            options: SubscriptionOptions::new(QoS::AtMostOnce),
        };
        let properties = SubscribeProperties::default();
        let connection = &mut self.connection;
        let identifier = connection.subscribe(self.now, vec![subscription], properties);
        identifier.unwrap().get()
    }
}

const FULL: Result<u16, PublishError> = Err(PublishError::QuotaUsedUp);

#[test]
fn identifier_that_the_server_may_hold_is_used_only_after_pubcomp() {
    for version in VERSIONS {
        let mut client = Client::connect(version, Session::without_state(), true);
        assert_eq!(client.output(), [], "a subscriber needs none of them");
        assert!(client.connection.has_room());
        assert_eq!(client.publish(), FULL);
        assert_eq!(
            client.output(),
            b"\x62\x02\0\x01\x62\x02\0\x02\x62\x02\0\x03"
        );
        assert!(!client.connection.has_room());
        assert!(client.connection.is_reclaiming());
        assert_eq!(client.publish(), FULL);
        assert_eq!(client.output(), []);

        client.input(&[0x70, 2, 0, 2]);
        assert!(client.connection.has_room());
        assert_eq!(client.publish(), Ok(2));
        assert_eq!(client.publish(), FULL);
        client.input(&[0x70, 2, 0, 1, 0x70, 2, 0, 3]);
        assert!(!client.connection.is_reclaiming());
        assert_eq!((client.publish(), client.publish()), (Ok(3), Ok(1)));
        assert_eq!(client.publish(), FULL);
        assert_eq!(client.connection.unfinished_sent(), 3);
    }
}

#[test]
fn lost_connection_does_not_release_unanswered_identifiers() {
    for version in VERSIONS {
        let mut client = Client::connect(version, Session::without_state(), true);
        assert_eq!(client.publish(), FULL);
        client.input(&[0x70, 2, 0, 1]);
        assert_eq!(client.publish(), Ok(1));
        let session = client.connection.take_session();

        let mut client = Client::connect(version, session, true);
        let resent = b"\x3C\x06\0\x01t\0\x01x";
        let resent = match version {
            V5_0 => b"\x3C\x07\0\x01t\0\x01\0x".to_vec(),
            _ => resent.to_vec(),
        };
        assert_eq!(client.output(), resent);
        assert_eq!(client.publish(), FULL);
        assert_eq!(client.output(), b"\x62\x02\0\x02\x62\x02\0\x03");
        client.input(&[0x70, 2, 0, 3]);
        assert_eq!(client.publish(), Ok(3));
    }
}

#[test]
fn new_session_releases_no_identifiers() {
    for version in [V3_1_1, V5_0] {
        let mut client = Client::connect(version, Session::without_state(), false);
        assert_eq!(client.publish(), Ok(1));
        let session = client.connection.take_session();
        let mut client = Client::connect(version, session, true);
        assert_eq!(client.publish(), Ok(2));
    }
}

/// SUBSCRIBE does not wait for a free packet identifier of messages. Its packet identifier is above all identifiers
/// that PUBREL will release.
#[test]
fn request_gets_an_identifier_above_those_that_pubrel_will_release() {
    for version in VERSIONS {
        let mut client = Client::connect(version, Session::without_state(), true);
        assert_eq!((client.subscribe(), client.subscribe()), (4, 5));
        assert_eq!(client.publish(), FULL);
        client.input(b"\x70\x02\0\x01\x70\x02\0\x02\x70\x02\0\x03");
        let published = [client.publish(), client.publish(), client.publish()];
        assert_eq!(published, [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(client.subscribe(), 6);
    }
    let mut client = Client::connect(V3_1_1, Session::default(), false);
    assert_eq!(client.subscribe(), 1);
    assert_eq!(client.publish(), Ok(2));
}
