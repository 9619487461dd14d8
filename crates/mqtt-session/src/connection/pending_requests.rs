//! SUBSCRIBE and UNSUBSCRIBE of a client until the server answers them, and the timeout for the answer. `commands.rs` sends
//! the packets, and `receive.rs` handles the answers.

use std::time::Instant;

use mqtt_codec::{PacketIdentifier, PacketType, Role};

use super::Connection;

/// A SUBSCRIBE or UNSUBSCRIBE without an answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct PendingRequest {
    pub(super) packet_identifier: PacketIdentifier,
    /// Number of topic filters in the request, and of reason codes in its answer.
    pub(super) count: usize,
    /// Type of the answer.
    pub(super) response: PacketType,
    /// Number of output bytes up to the end of the request that are not written yet.
    pub(super) unwritten: usize,
    /// Start of the wait for the answer.
    pub(super) since: Instant,
}

impl Connection {
    /// Returns the time at which the oldest request must be answered.
    pub(super) fn response_deadline(&self) -> Option<Instant> {
        self.oldest_request()
            .map(|request| request.since + self.config.response_timeout)
    }

    /// Returns the type of the answer that has not arrived in time, if there is one.
    pub(super) fn overdue_response(&self, now: Instant) -> Option<PacketType> {
        let request = self.oldest_request()?;
        (now >= request.since + self.config.response_timeout).then_some(request.response)
    }

    /// Handles that `count` bytes of the output were written. A request may wait after a large message, so the wait for its
    /// answer starts when the request is written.
    pub(super) fn handle_written_requests(&mut self, now: Instant, count: usize) {
        if self.role == Role::Server || count == 0 {
            return;
        }
        let Some(rare) = self.rare.get_mut() else {
            return; // This client has sent no request.
        };
        let waiting = |request: &&mut PendingRequest| request.unwritten > 0;
        for request in rare.requests.iter_mut().filter(waiting) {
            request.unwritten = request.unwritten.saturating_sub(count);
            request.since = now;
        }
    }

    /// Restarts the wait for all answers. An answer may be among bytes that were not read yet, or after a large message of
    /// which more has arrived.
    pub(super) fn restart_response_timeout(&mut self, now: Instant) {
        if let Some(rare) = self.rare.get_mut() {
            for request in &mut rare.requests {
                request.since = now;
            }
        }
    }

    /// Removes and returns the request with this packet identifier, if there is one.
    pub(super) fn take_request(
        &mut self,
        packet_identifier: PacketIdentifier,
    ) -> Option<PendingRequest> {
        let requests = &mut self.rare.get_mut()?.requests;
        let is_same = |request: &PendingRequest| request.packet_identifier == packet_identifier;
        let index = requests.iter().position(is_same)?;
        requests.remove(index)
    }

    fn oldest_request(&self) -> Option<&PendingRequest> {
        self.rare.get()?.requests.front()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mqtt_codec::{
        Connect, ProtocolVersion, QoS, SubscribeProperties, Subscription, SubscriptionOptions,
        TopicFilter, UnsubscribeProperties,
    };

    use super::*;
    use crate::{CloseReason, Config, Event};

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

    /// Returns the reason for which the connection ends at this time, if it does.
    fn closed(connection: &mut Connection, now: Instant) -> Option<CloseReason> {
        connection.handle_timeout(now);
        match connection.handle_input(now, &mut &[][..]) {
            Some(Event::Closed(reason)) => Some(reason),
            _ => None,
        }
    }

    #[test]
    fn a_connection_ends_when_an_answer_does_not_arrive_in_time() {
        let start = Instant::now();
        let mut connection = connected(start);
        subscribe(&mut connection, start);
        // The server answers something that was not asked, and sends messages.
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
    fn an_answer_is_awaited_from_when_the_request_has_left() {
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
    fn an_answer_may_be_behind_a_large_message_or_unread() {
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
}
