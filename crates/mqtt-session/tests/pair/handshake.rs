//! Tests of CONNECT, CONNACK, and the deadlines of a connection.

use std::time::{Duration, Instant};

use mqtt_codec::*;
use mqtt_session::*;

use ProtocolVersion::{V3_1_1, V5_0};

use crate::ends::{End, Pair};

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
