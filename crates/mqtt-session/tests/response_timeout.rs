//! Tests of the timeout for the answers to SUBSCRIBE and UNSUBSCRIBE.

use std::time::{Duration, Instant};

use mqtt_codec::{
    Connect, PacketType, ProtocolVersion, QoS, SubscribeProperties, Subscription,
    SubscriptionOptions, TopicFilter, UnsubscribeProperties,
};

use mqtt_session::{CloseReason, Config, Connection, Event};

const TIMEOUT: Duration = Duration::from_secs(7);

fn connected(now: Instant) -> Connection {
    let mut connect = Connect::new(ProtocolVersion::V3_1_1, "c");
    connect.keep_alive = 0;
    let config = Config {
        response_timeout: TIMEOUT,
        ..Config::default()
    };
    let mut connection = Connection::client(&connect, None, config, now).unwrap();
    write_all(&mut connection, now);
    let event = connection.handle_input(now, &mut &[0x20, 2, 0, 0][..]);
    assert!(matches!(event, Some(Event::Connected { .. })));
    connection
}

fn write_all(connection: &mut Connection, now: Instant) {
    let count = connection.output().len();
    connection.consume_output(now, count);
}

fn subscribe(connection: &mut Connection, now: Instant) {
    let subscription = Subscription {
        topic_filter: TopicFilter::new("a").unwrap(),
        options: SubscriptionOptions::new(QoS::AtMostOnce),
    };
    let properties = SubscribeProperties::default();
    connection
        .subscribe(now, vec![subscription], properties)
        .unwrap();
}

/// Returns the reason if the connection ends at `now`, and `None` if it does not end.
fn closed(connection: &mut Connection, now: Instant) -> Option<CloseReason> {
    connection.handle_timeout(now);
    match connection.handle_input(now, &mut &[][..]) {
        Some(Event::Closed(reason)) => Some(reason),
        _ => None,
    }
}

#[test]
fn ends_the_connection_if_an_answer_does_not_arrive_in_time() {
    let start = Instant::now();
    let mut connection = connected(start);
    subscribe(&mut connection, start);
    // The server sends an answer without a request, and a message. Neither restarts the timeout.
    let mut input = &[0x90, 3, 0, 9, 0, 0x30, 3, 0, 1, b'a'][..];
    while connection.handle_input(start, &mut input).is_some() {}
    assert_eq!(connection.poll_timeout(), Some(start + TIMEOUT));
    let almost = start + TIMEOUT - Duration::from_nanos(1);
    assert_eq!(closed(&mut connection, almost), None);
    let expected = CloseReason::ResponseTimeout(PacketType::Suback);
    assert_eq!(
        closed(&mut connection, start + TIMEOUT),
        Some(expected.clone())
    );
    assert_eq!(expected.to_string(), "SUBACK did not arrive in time");
}

#[test]
fn each_request_has_its_own_deadline() {
    let start = Instant::now();
    let mut connection = connected(start);
    subscribe(&mut connection, start);
    let later = start + Duration::from_secs(5);
    let filters = vec![TopicFilter::new("b").unwrap()];
    let properties = UnsubscribeProperties::default();
    connection.unsubscribe(later, filters, properties).unwrap();
    connection.handle_input(later, &mut &[0x90, 3, 0, 1, 0][..]);
    assert_eq!(connection.poll_timeout(), Some(later + TIMEOUT));
    let expected = CloseReason::ResponseTimeout(PacketType::Unsuback);
    assert_eq!(closed(&mut connection, later + TIMEOUT), Some(expected));
}

#[test]
fn waits_for_an_answer_from_the_time_the_request_is_written() {
    let start = Instant::now();
    let mut connection = connected(start);
    subscribe(&mut connection, start);
    let length = connection.output().len();
    let later = start + Duration::from_secs(5);
    connection.consume_output(later, length - 1);
    connection.consume_output(later + TIMEOUT / 2, 0);
    assert_eq!(connection.poll_timeout(), Some(later + TIMEOUT));
    let left = later + TIMEOUT;
    connection.consume_output(left, 1);
    assert_eq!(connection.poll_timeout(), Some(left + TIMEOUT));
    write_all(&mut connection, left + TIMEOUT / 2);
    assert_eq!(connection.poll_timeout(), Some(left + TIMEOUT));
}

#[test]
fn waits_longer_while_a_large_message_arrives_or_bytes_are_unread() {
    let start = Instant::now();
    let mut connection = connected(start);
    subscribe(&mut connection, start);
    write_all(&mut connection, start);
    let later = start + TIMEOUT / 2;
    let mut beginning = vec![0x30, 0xFF, 0xFF, 0x7F, 0, 1, b'a'];
    beginning.resize(2000, b'x');
    connection.handle_input(later, &mut &beginning[..]);
    assert_eq!(connection.poll_timeout(), Some(later + TIMEOUT));
    connection.handle_unread(later + TIMEOUT / 2);
    let unread = later + TIMEOUT / 2;
    assert_eq!(connection.poll_timeout(), Some(unread + TIMEOUT));
}
