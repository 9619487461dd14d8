//! Keep alive (MQTT 5.0, 3.1.2.10): when the client has to say something, and when silence means
//! that the peer is gone. Whole packets count, and large parts of one that takes long.

use std::collections::VecDeque;
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
    /// Client: how fast the socket takes bytes, once it did not take all. Boxed, as most never need it.
    backlog: Option<Box<Backlog>>,
}

/// The time that the last bytes of the output had to wait for the socket.
///
/// Bytes that the socket has taken may still wait in the system and on the link, and a PINGREQ behind them. How many
/// those are is not known; but they leave as fast as the socket took the bytes before them.
#[derive(Debug, Default)]
struct Backlog {
    /// Bytes that the socket has taken, and the time that they waited for it, oldest first.
    marks: VecDeque<(u64, Duration)>,
    taken: u64,
    waited: Duration,
    /// Set while output waits for the socket.
    waits_since: Option<Instant>,
}

/// The number of bytes that may wait below the output: in TLS, in the system, and on the link.
const BELOW: u64 = 128 * 1024;

/// The number of bytes between two marks.
const MARK: u64 = 4096;

/// Maximum time that is granted for bytes that wait below the output.
const MAXIMUM_BACKLOG: Duration = Duration::from_secs(120);

impl Backlog {
    fn bytes_left(&mut self, now: Instant, count: usize, waits: bool) {
        if count == 0 {
            self.waits_since.get_or_insert(now);
            return;
        }
        if let Some(since) = self.waits_since.take() {
            self.waited += now - since;
        }
        self.waits_since = waits.then_some(now);
        self.taken += count as u64;
        let is_due = |last: &(u64, Duration)| self.taken >= last.0 + MARK;
        if self.marks.back().is_none_or(is_due) {
            self.marks.push_back((self.taken, self.waited));
        }
        let is_gone = |mark: &(u64, Duration)| mark.0 + BELOW < self.taken;
        while self.marks.len() > 1 && self.marks.front().is_some_and(is_gone) {
            self.marks.pop_front();
        }
    }

    /// Returns the time after which the bytes below the output have left.
    fn duration(&self) -> Duration {
        let first = self.marks.front().map_or(self.waited, |mark| mark.1);
        (self.waited - first).min(MAXIMUM_BACKLOG)
    }
}

/// What has to be done about the time that has passed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeepAliveAction {
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
            backlog: None,
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

    /// The socket has taken bytes of the output; `waits` says whether more wait for it.
    pub(crate) fn bytes_left(&mut self, now: Instant, count: usize, waits: bool) {
        if self.role == Role::Client && (waits || self.backlog.is_some()) {
            let backlog = self.backlog.get_or_insert_default();
            backlog.bytes_left(now, count, waits);
        }
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
            (Role::Client, Some(ping_sent)) => {
                let backlog = self.backlog.as_ref();
                ping_sent + interval + backlog.map_or(Duration::ZERO, |backlog| backlog.duration())
            }
            // [MQTT-3.1.2-20]; and if only the peer is silent, to find out whether it lives.
            (Role::Client, None) => self.last_sent.min(self.last_received) + interval,
        })
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> KeepAliveAction {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return KeepAliveAction::Nothing;
        }
        if self.role == Role::Client && self.ping_sent.is_none() {
            self.ping_sent = Some(now);
            return KeepAliveAction::Ping;
        }
        KeepAliveAction::TimedOut
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
        assert_eq!(timer.handle_timeout(almost), KeepAliveAction::Nothing);
        assert_eq!(
            timer.handle_timeout(start + seconds(18)),
            KeepAliveAction::TimedOut
        );
    }

    /// [MQTT-3.1.2-20]
    #[test]
    fn a_client_pings_when_it_was_silent_and_gives_up_without_an_answer() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 10, start);
        assert_eq!(
            timer.handle_timeout(start + seconds(10)),
            KeepAliveAction::Ping
        );
        timer.sent(start + seconds(10));
        assert_eq!(timer.deadline(), Some(start + seconds(20)));
        timer.received(start + seconds(11));
        assert_eq!(
            timer.handle_timeout(start + seconds(20)),
            KeepAliveAction::Ping
        );
        timer.sent(start + seconds(20));
        assert_eq!(
            timer.handle_timeout(start + seconds(30)),
            KeepAliveAction::TimedOut
        );
    }

    #[test]
    fn a_client_that_sends_all_the_time_still_notices_a_silent_server() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 10, start);
        let mut actions = Vec::new();
        for second in 0..=20 {
            timer.sent(start + seconds(second));
            match timer.handle_timeout(start + seconds(second)) {
                KeepAliveAction::Nothing => {}
                action => actions.push((second, action)),
            }
        }
        assert_eq!(
            actions,
            [(10, KeepAliveAction::Ping), (20, KeepAliveAction::TimedOut)]
        );
    }

    /// 8 KiB per second, of which the system holds 64 KiB.
    #[test]
    fn the_answer_to_a_ping_behind_bytes_that_leave_slowly_has_more_time() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 5, start);
        timer.sent(start);
        timer.bytes_left(start, 64 * 1024, true);
        for second in 1..=30 {
            let now = start + seconds(second);
            match timer.handle_timeout(now) {
                KeepAliveAction::TimedOut => panic!("bytes leave all the time"),
                KeepAliveAction::Ping | KeepAliveAction::Nothing => {}
            }
            timer.bytes_left(now, 8 * 1024, second < 30);
            timer.ping_left(now);
        }
        let end = start + seconds(30);
        assert_eq!(
            timer.handle_timeout(end + seconds(8 + 4)),
            KeepAliveAction::Nothing
        );
        assert_eq!(
            timer.handle_timeout(end + seconds(30)),
            KeepAliveAction::TimedOut
        );
    }

    #[test]
    fn a_peer_that_takes_nothing_has_no_more_time() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 5, start);
        timer.bytes_left(start, 64 * 1024, true);
        assert_eq!(
            timer.handle_timeout(start + seconds(5)),
            KeepAliveAction::Ping
        );
        timer.bytes_left(start + seconds(5), 0, true);
        assert_eq!(
            timer.handle_timeout(start + seconds(10)),
            KeepAliveAction::TimedOut
        );
    }

    #[test]
    fn zero_switches_it_off() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Server, 0, start);
        assert_eq!(timer.deadline(), None);
        assert_eq!(
            timer.handle_timeout(start + seconds(1_000_000)),
            KeepAliveAction::Nothing
        );
    }
}
