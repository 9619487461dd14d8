//! Tests of [`ClientCore`]: the tests pass bytes and losses to it, and compare its attempts and waits.

use std::sync::Arc;

use mqtt_codec::{Message, QoS};
use mqtt_session::{CloseReason, PublishError};

use super::*;

/// Returns the Clean Start flag of each CONNECT. An item of `script` is the wait before a connection, and `true` if the
/// server accepts this connection before it is lost.
fn clean_starts(script: &[(u64, bool)]) -> Vec<bool> {
    let mut options = Options::new("server", 1883);
    options.connect = Connect::new(ProtocolVersion::V5_0, "c");
    options.connect.clean_start = false;
    options.connect.properties.session_expiry_interval = Some(10);
    let mut core = ClientCore::new(options, Some(Session::default()));
    let mut now = Instant::now();
    let mut seen = Vec::new();
    for (wait, accepted) in script {
        now += Duration::from_secs(*wait);
        core.handle_reached(now).unwrap();
        seen.push(core.output()[9] & 2 != 0);
        if *accepted {
            let mut connack = &[0x20, 3, 0, 0, 0][..];
            let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
            let flow = core.handle_input(now, &mut connack, &mut ignore);
            assert_eq!(flow.unwrap(), ControlFlow::Continue(()));
        }
        let lost = ClientError::Closed(CloseReason::ConnectionLost);
        core.handle_lost(now, lost, 0).unwrap();
    }
    seen
}

#[test]
fn delays_grow_until_a_connection_was_useful() {
    let waits = |bytes: &[u8]| {
        let mut core = ClientCore::new(Options::new("server", 1883), None);
        let now = Instant::now();
        let mut wait = || {
            core.handle_reached(now).unwrap();
            let mut input = bytes;
            let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
            let _ = core.handle_input(now, &mut input, &mut ignore).unwrap();
            let lost = ClientError::Closed(CloseReason::ConnectionLost);
            let middle = u32::MAX / 2 + 1;
            core.handle_lost(now, lost, middle)
                .unwrap()
                .1
                .as_secs_f64()
                .round()
        };
        [wait(), wait(), wait()]
    };
    assert_eq!(waits(&[0x20, 2, 0, 0]), [1.0, 2.0, 4.0]);
    let with_message = [0x20, 2, 0, 0, 0x30, 4, 0, 1, b't', b'x'];
    assert_eq!(waits(&with_message), [1.0, 1.0, 1.0]);
}

/// Makes attempts that fail after `duration` each. If `is_lost` is set, the client was connected before. Returns the
/// start times and the deadlines of the attempts, and the time at which the client gives up.
fn attempts(
    options: &Options,
    is_lost: bool,
    random: u32,
    duration: Duration,
) -> (Vec<f64>, Vec<f64>, f64) {
    let mut core = ClientCore::new(options.clone(), None);
    let mut now = Instant::now();
    let refused = || ClientError::Connect(std::io::ErrorKind::ConnectionRefused.into());
    if is_lost {
        core.begin_attempt(now);
        now += Duration::from_secs(3);
        core.handle_reached(now).unwrap();
        let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
        let _ = core.handle_input(now, &mut &[0x20, 2, 0, 0][..], &mut ignore);
        now += Duration::from_secs(3);
        let lost = ClientError::Closed(CloseReason::ConnectionLost);
        now += core.handle_lost(now, lost, random).unwrap().1;
    }
    let start = core.attempts.lost_since().unwrap_or(now);
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    loop {
        starts.push((now - start).as_secs_f64());
        let end = core.begin_attempt(now);
        ends.push((end - start).as_secs_f64());
        now = end.min(now + duration);
        match core.handle_lost(now, refused(), random) {
            Ok((_, wait)) => now += wait,
            Err(_) => return (starts, ends, (now - start).as_secs_f64()),
        }
    }
}

#[test]
fn attempts_end_after_the_time_limit_of_the_user() {
    let mut options = Options::new("server", 1883);
    options.wait_for_server = Duration::from_secs(3);
    options.reconnect = Reconnect::For(Duration::from_secs(5));
    for random in [0, u32::MAX / 2, u32::MAX] {
        for (is_lost, limit) in [(false, 3.0), (true, 5.0)] {
            let (starts, _, end) = attempts(&options, is_lost, random, Duration::ZERO);
            assert_eq!((end, starts.last().copied()), (limit, Some(limit)));
            assert!(starts.len() >= 3, "{starts:?}");
            // If the server does not answer at all, the attempt must end at the time limit too.
            let day = Duration::from_secs(86_400);
            let (_, ends, end) = attempts(&options, is_lost, random, day);
            assert!(end >= limit && end <= limit + 1.0, "{end}");
            assert_eq!(ends.last().copied(), Some(end));
        }
    }
}

#[test]
fn a_single_attempt_and_attempts_without_end_have_the_time_of_a_connection() {
    let mut options = Options::new("server", 1883);
    let now = Instant::now();
    for reconnect in [Reconnect::Never, Reconnect::Always] {
        options.reconnect = reconnect;
        let mut core = ClientCore::new(options.clone(), None);
        assert_eq!(core.begin_attempt(now), now + options.connect_timeout);
    }
}

fn refused(reason_code: ReasonCode, reference: Option<&str>) -> ClientError {
    let mut connack = Connack {
        session_present: false,
        reason_code,
        properties: mqtt_codec::ConnackProperties::default(),
    };
    connack.properties.server_reference = reference.map(Into::into);
    ClientError::Closed(CloseReason::Refused(Box::new(connack)))
}

/// Connects a client to the first server and then passes it these errors. Returns `None` if the client gives up.
/// Otherwise returns `true` if the client waits after the last error.
fn after(reconnect: Reconnect, names: &[&str], errors: Vec<ClientError>) -> Option<bool> {
    let mut options = Options::new(names[0], 1);
    options.connect = Connect::new(ProtocolVersion::V5_0, "c");
    options.servers = names.iter().map(|name| Server::network(*name, 1)).collect();
    options.reconnect = reconnect;
    options.follow_server_references = true;
    let mut core = ClientCore::new(options, None);
    let now = Instant::now();
    let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
    core.handle_reached(now).unwrap();
    let _ = core.handle_input(now, &mut &[0x20, 3, 0, 0, 0][..], &mut ignore);
    let mut waits = None;
    for error in errors {
        waits = Some(core.handle_lost(now, error, 0).ok()?.1 > Duration::ZERO);
    }
    waits
}

#[test]
fn order_of_servers_does_not_affect_retries() {
    let lost = || ClientError::Closed(CloseReason::ConnectionLost);
    let bad = || ClientError::Transport(std::io::ErrorKind::InvalidData.into());
    let always = |errors| after(Reconnect::Always, &["a", "b"], errors);
    assert_eq!(always(vec![lost(), lost(), bad()]), Some(true));
    assert_eq!(always(vec![lost(), bad(), lost()]), Some(true));
    assert_eq!(always(vec![lost(), bad(), bad()]), None);
    // The client causes this error, so no server would accept it.
    let refused = refused(ReasonCode::NotAuthorized, None);
    assert_eq!(always(vec![lost(), lost(), refused]), None);
}

#[test]
fn reference_to_an_unreachable_server_is_followed_by_a_delay() {
    let lost = || ClientError::Closed(CloseReason::ConnectionLost);
    let sent = || refused(ReasonCode::UseAnotherServer, Some("b"));
    let mut errors = vec![lost()];
    for _ in 0..8 {
        errors.extend([sent(), lost()]);
    }
    errors.push(sent());
    assert_eq!(after(Reconnect::Always, &["a"], errors), Some(true));
    // Without a Server Reference the client has no other server.
    let errors = vec![lost(), refused(ReasonCode::UseAnotherServer, None)];
    assert_eq!(after(Reconnect::Always, &["a"], errors), None);
}

#[test]
fn client_that_does_not_reconnect_follows_no_reference() {
    let mut disconnect = Disconnect::new(ReasonCode::UseAnotherServer);
    disconnect.properties.server_reference = Some("b".into());
    let sent = || ClientError::Closed(CloseReason::Disconnected(Box::new(disconnect.clone())));
    assert_eq!(after(Reconnect::Never, &["a"], vec![sent()]), None);
    assert_eq!(after(Reconnect::Always, &["a"], vec![sent()]), Some(false));
}

/// Both servers have a session of this client. Packet identifiers of one session are not valid in the other one.
#[test]
fn does_not_resume_a_session_of_one_server_at_another() {
    let mut options = Options::new("a", 1883);
    options.servers.push(Server::network("b", 1883));
    options.connect = Connect::new(ProtocolVersion::V3_1_1, "c");
    options.connect.clean_start = false;
    let mut core = ClientCore::new(options, Some(Session::default()));
    let now = Instant::now();
    let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
    let message = Message::new(mqtt_codec::TopicName::new("t").unwrap(), "x");
    let outgoing = OutboundMessage::new(Arc::new(message), QoS::ExactlyOnce);
    let lost = || ClientError::Closed(CloseReason::ConnectionLost);
    let accepted = [0x20, 2, 1, 0];
    core.handle_reached(now).unwrap();
    let _ = core.handle_input(now, &mut &accepted[..], &mut ignore);
    core.publish(now, outgoing).unwrap();
    core.handle_lost(now, lost(), 0).unwrap(); // The client first returns to server a.
    assert_eq!(core.server(), Some(&Server::network("a", 1883)));
    core.handle_lost(now, lost(), 0).unwrap();
    assert_eq!(core.server(), Some(&Server::network("b", 1883)));
    core.handle_reached(now).unwrap();
    let count = core.output().len();
    core.consume_output(now, count);
    let _ = core.handle_input(now, &mut &accepted[..], &mut ignore);
    // The message is sent as a new one, with a packet identifier that server b has released.
    assert!(core.output().starts_with(&[0x62, 2, 0, 1]), "PUBREL");
    let count = core.output().len();
    core.consume_output(now, count);
    let _ = core.handle_input(now, &mut &[0x70, 2, 0, 1][..], &mut ignore);
    assert_eq!(core.output(), b"\x34\x06\x00\x01t\x00\x01x");
}

#[test]
fn does_not_resume_a_session_that_may_be_a_new_one() {
    let lost_in_time = clean_starts(&[(0, true), (5, false), (1, true), (1, true)]);
    assert_eq!(lost_in_time, [false; 4]);
    let late = clean_starts(&[(0, true), (10, false), (1, false), (1, true), (1, true)]);
    assert_eq!(late, [false, false, true, true, false]);
}

/// Publishes a retained message of QoS 2 and a message of QoS 1, and loses the session. The next CONNACK has these
/// properties. Returns the output after it, and the reasons for which messages were given up.
fn after_session_loss(properties: &[u8]) -> (Vec<u8>, Vec<Option<PublishError>>) {
    let mut options = Options::new("server", 1883);
    options.connect = Connect::new(ProtocolVersion::V5_0, "c");
    let mut core = ClientCore::new(options, None);
    let now = Instant::now();
    let mut ignore = |_: &mut Connection, _: Event<'_>| ControlFlow::Continue(());
    core.handle_reached(now).unwrap();
    let _ = core.handle_input(now, &mut &[0x20, 3, 0, 0, 0][..], &mut ignore);
    for (payload, qos, retain) in [
        ("large", QoS::ExactlyOnce, true),
        ("s", QoS::AtLeastOnce, false),
    ] {
        let mut message = Message::new(mqtt_codec::TopicName::new("t").unwrap(), payload);
        message.retain = retain;
        let outgoing = OutboundMessage::new(Arc::new(message), qos);
        core.publish(now, outgoing).unwrap();
    }
    let lost = ClientError::Closed(CloseReason::ConnectionLost);
    core.handle_lost(now, lost, 0).unwrap();
    core.handle_reached(now).unwrap();
    let count = core.output().len();
    core.consume_output(now, count);
    let count = u8::try_from(properties.len()).unwrap();
    let connack = [&[0x20, 3 + count, 0, 0, count][..], properties].concat();
    let _ = core
        .handle_input(now, &mut &connack[..], &mut ignore)
        .unwrap();
    let rejected = core.take_rejected().into_iter();
    let errors = rejected.map(|rejected| rejected.error).collect();
    (core.output().to_vec(), errors)
}

#[test]
fn gives_up_only_the_message_that_the_next_server_does_not_accept() {
    let (output, errors) = after_session_loss(&[]);
    assert_eq!(
        output,
        b"\x35\x0b\x00\x01t\x00\x01\x00large\x32\x07\x00\x01t\x00\x02\x00s"
    );
    assert_eq!(errors, []);
    let too_large = PublishError::Encode(mqtt_codec::EncodeError::PacketTooLarge(13));
    for (properties, error) in [
        (&[0x24, 1][..], PublishError::QoSNotSupported),
        (&[0x25, 0], PublishError::RetainNotSupported),
        (&[0x27, 0, 0, 0, 12], too_large),
    ] {
        let (output, errors) = after_session_loss(properties);
        assert_eq!(output, b"\x32\x07\x00\x01t\x00\x01\x00s");
        assert_eq!(errors, [Some(error)]);
    }
}
