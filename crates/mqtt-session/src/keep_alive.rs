//! Keep alive (MQTT 5.0, 3.1.2.10): when the client has to say something, and when silence means
//! that the peer is gone. Whole packets count, and large parts of one that takes long.

use std::time::{Duration, Instant};

use mqtt_codec::Role;

#[derive(Debug)]
pub(crate) struct KeepAlive {
    role: Role,
    /// Seconds; 0 switches it off.
    interval: u16,
    last_sent: Instant,
    last_received: Instant,
    /// Since when a PINGRESP is awaited.
    ping_sent: Option<Instant>,
}

/// What has to be done about the time that has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    Ping,
    TimedOut,
}

impl KeepAlive {
    pub(crate) fn new(role: Role, interval: u16, now: Instant) -> Self {
        Self {
            role,
            interval,
            last_sent: now,
            last_received: now,
            ping_sent: None,
        }
    }

    pub(crate) fn last_received(&self) -> Instant {
        self.last_received
    }

    pub(crate) fn sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// A whole packet came, or a good part of one. Any packet shows that the peer is there, not only PINGRESP.
    pub(crate) fn received(&mut self, now: Instant) {
        self.last_received = now;
        self.ping_sent = None;
    }

    /// The PINGREQ, or what stands before it, has left.
    pub(crate) fn ping_left(&mut self, now: Instant) {
        self.ping_sent = self.ping_sent.map(|_| now);
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        if self.interval == 0 {
            return None;
        }
        let interval = Duration::from_secs(self.interval.into());
        Some(match (self.role, self.ping_sent) {
            // [MQTT-3.1.2-22]
            (Role::Server, _) => self.last_received + interval * 3 / 2,
            (Role::Client, Some(ping_sent)) => ping_sent + interval,
            // [MQTT-3.1.2-20]; and if only the peer is silent, to find out whether it lives.
            (Role::Client, None) => self.last_sent.min(self.last_received) + interval,
        })
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Action {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Action::Nothing;
        }
        if self.role == Role::Client && self.ping_sent.is_none() {
            self.ping_sent = Some(now);
            return Action::Ping;
        }
        Action::TimedOut
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// [MQTT-3.1.2-22]
    #[test]
    fn a_server_waits_one_and_a_half_times() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Server, 10, start);
        timer.received(start + seconds(3));
        assert_eq!(timer.deadline(), Some(start + seconds(18)));
        let almost = start + seconds(18) - Duration::from_nanos(1);
        assert_eq!(timer.handle_timeout(almost), Action::Nothing);
        assert_eq!(timer.handle_timeout(start + seconds(18)), Action::TimedOut);
    }

    /// [MQTT-3.1.2-20]
    #[test]
    fn a_client_pings_when_it_was_silent_and_gives_up_without_an_answer() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 10, start);
        assert_eq!(timer.handle_timeout(start + seconds(10)), Action::Ping);
        timer.sent(start + seconds(10));
        assert_eq!(timer.deadline(), Some(start + seconds(20)));
        timer.received(start + seconds(11));
        assert_eq!(timer.handle_timeout(start + seconds(20)), Action::Ping);
        timer.sent(start + seconds(20));
        assert_eq!(timer.handle_timeout(start + seconds(30)), Action::TimedOut);
    }

    #[test]
    fn a_client_that_sends_all_the_time_still_notices_a_silent_server() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 10, start);
        let mut actions = Vec::new();
        for second in 0..=20 {
            timer.sent(start + seconds(second));
            match timer.handle_timeout(start + seconds(second)) {
                Action::Nothing => {}
                action => actions.push((second, action)),
            }
        }
        assert_eq!(actions, [(10, Action::Ping), (20, Action::TimedOut)]);
    }

    #[test]
    fn zero_switches_it_off() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Server, 0, start);
        assert_eq!(timer.deadline(), None);
        assert_eq!(
            timer.handle_timeout(start + seconds(1_000_000)),
            Action::Nothing
        );
    }
}
