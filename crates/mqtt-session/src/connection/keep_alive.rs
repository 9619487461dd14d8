//! Keep alive (MQTT 5.0, 3.1.2.10): the time at which a client must send a packet, and the time at which the silence of
//! the peer ends the connection. A whole packet counts as activity. A large part of a packet that arrives slowly counts
//! too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqtt_codec::Role;

#[derive(Debug)]
pub(super) struct KeepAlive {
    role: Role,
    /// Interval in seconds. 0 turns keep alive off.
    interval: u16,
    last_sent: Instant,
    last_received: Instant,
    /// Start of the wait for PINGRESP.
    ping_sent: Option<Instant>,
    /// Number of output bytes up to the end of a PINGREQ that is not written yet.
    ping_unwritten: usize,
    /// Number of bytes of an incomplete packet that have counted as activity.
    partial: usize,
    /// Client only: measures the speed of the socket. `None` until the socket has failed to accept all bytes for the
    /// first time. Boxed, because most connections never need it.
    backlog: Option<Box<Backlog>>,
}

/// Estimates how long the bytes that the socket accepted last still need to leave the machine and the link.
///
/// Bytes that the socket has accepted may still wait in the system and on the link. A PINGREQ waits after them. The
/// number of these bytes is unknown, but they leave at the speed at which the socket accepted the bytes before them.
#[derive(Debug, Default)]
struct Backlog {
    /// Earlier values of (`accepted`, `waited`), oldest first.
    marks: VecDeque<(u64, Duration)>,
    /// Number of bytes that the socket has accepted.
    accepted: u64,
    /// Time that these bytes have waited.
    waited: Duration,
    /// Set while output waits for the socket.
    waits_since: Option<Instant>,
}

/// The number of bytes that may wait below the output: in TLS, in the system, and on the link.
const BYTES_BELOW: u64 = 128 * 1024;

/// The number of bytes between two marks.
const MARK_DISTANCE: u64 = 4096;

/// The maximum extension of the wait for PINGRESP. A peer that reads very slowly must still be detected when it is
/// gone.
const MAXIMUM_BACKLOG: Duration = Duration::from_secs(120);

/// The number of further bytes of an incomplete packet that count as activity. mosquitto uses the same number.
const PROGRESS: usize = 1000;

impl Backlog {
    fn handle_written(&mut self, now: Instant, count: usize, has_more: bool) {
        // The socket has accepted nothing: the wait begins, or continues.
        if count == 0 {
            self.waits_since.get_or_insert(now);
            return;
        }
        if let Some(since) = self.waits_since.take() {
            self.waited += now - since;
        }
        self.waits_since = has_more.then_some(now);
        self.accepted += count as u64;
        let is_due = |last: &(u64, Duration)| self.accepted >= last.0 + MARK_DISTANCE;
        if self.marks.back().is_none_or(is_due) {
            self.marks.push_back((self.accepted, self.waited));
        }
        let is_gone = |mark: &(u64, Duration)| mark.0 + BYTES_BELOW < self.accepted;
        // The last mark before the bytes below the output is kept, because their wait starts there.
        while self.marks.len() > 1 && self.marks.front().is_some_and(is_gone) {
            self.marks.pop_front();
        }
    }

    /// Returns an estimate of the time that the bytes below the output need to leave.
    fn duration(&self) -> Duration {
        // The bytes below the output have waited since the first mark.
        let first = self.marks.front().map_or(self.waited, |mark| mark.1);
        (self.waited - first).min(MAXIMUM_BACKLOG)
    }
}

/// The action that the passed time requires.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum KeepAliveAction {
    Nothing,
    Ping,
    TimedOut,
}

impl KeepAlive {
    pub(super) fn new(role: Role, interval: u16, now: Instant) -> Self {
        Self {
            role,
            interval,
            last_sent: now,
            last_received: now,
            ping_sent: None,
            ping_unwritten: 0,
            partial: 0,
            backlog: None,
        }
    }

    pub(super) fn last_received(&self) -> Instant {
        self.last_received
    }

    /// Records the time at which a packet was added to the output.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Records activity of the peer after a whole packet was received.
    pub(super) fn handle_packet(&mut self, now: Instant) {
        self.partial = 0;
        self.handle_activity(now);
    }

    /// Records activity of the peer. Any packet shows that the peer is there, not only PINGRESP.
    pub(super) fn handle_activity(&mut self, now: Instant) {
        // Any packet answers a PINGREQ.
        self.last_received = now;
        self.ping_sent = None;
    }

    /// Records that `available` bytes of an incomplete packet have arrived. Returns `true` if these bytes count as
    /// activity.
    ///
    /// A packet that takes longer than the keep alive must not end the connection (MQTT 5.0, 3.1.2.10). A minimum keeps
    /// a peer from holding the connection open with single bytes.
    pub(super) fn handle_incomplete_packet(&mut self, now: Instant, available: usize) -> bool {
        let is_progress = available >= self.partial + PROGRESS;
        if is_progress {
            self.partial = available;
            self.handle_activity(now);
        }
        is_progress
    }

    /// Records that the output contains a PINGREQ, which ends `unwritten` bytes from the front.
    pub(super) fn handle_queued_ping(&mut self, unwritten: usize) {
        self.ping_unwritten = unwritten;
    }

    /// Updates the times after the socket has accepted `count` bytes of the output. `has_more` is set if more bytes
    /// wait for the socket.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize, has_more: bool) {
        // Only a client waits for PINGRESP. Without waiting output there is nothing to measure.
        if self.role == Role::Client && (has_more || self.backlog.is_some()) {
            let backlog = self.backlog.get_or_insert_default();
            backlog.handle_written(now, count, has_more);
        }
        if self.ping_unwritten > 0 && count > 0 {
            // A PINGREQ may wait after a large packet. The wait for its answer starts when it is written.
            self.ping_unwritten = self.ping_unwritten.saturating_sub(count);
            self.ping_sent = self.ping_sent.map(|_| now);
        }
    }

    /// Returns the time at which the peer has been silent for too long, or at which a client must send PINGREQ.
    pub(super) fn deadline(&self) -> Option<Instant> {
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
            // [MQTT-3.1.2-20]. A client that only sends must ping too, to detect that the server is gone.
            (Role::Client, None) => self.last_sent.min(self.last_received) + interval,
        })
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> KeepAliveAction {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return KeepAliveAction::Nothing;
        }
        // Only a client sends PINGREQ. A server, and a client whose PINGREQ is unanswered, give up.
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
        timer.handle_packet(start + seconds(3));
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
        timer.handle_sent(start + seconds(10));
        assert_eq!(timer.deadline(), Some(start + seconds(20)));
        timer.handle_packet(start + seconds(11));
        assert_eq!(
            timer.handle_timeout(start + seconds(20)),
            KeepAliveAction::Ping
        );
        timer.handle_sent(start + seconds(20));
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
            timer.handle_sent(start + seconds(second));
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
        timer.handle_sent(start);
        timer.handle_written(start, 64 * 1024, true);
        for second in 1..=30 {
            let now = start + seconds(second);
            match timer.handle_timeout(now) {
                KeepAliveAction::TimedOut => panic!("bytes leave all the time"),
                // The PINGREQ waits after more output than is written in this test.
                KeepAliveAction::Ping => timer.handle_queued_ping(usize::MAX),
                KeepAliveAction::Nothing => {}
            }
            timer.handle_written(now, 8 * 1024, second < 30);
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
        timer.handle_written(start, 64 * 1024, true);
        assert_eq!(
            timer.handle_timeout(start + seconds(5)),
            KeepAliveAction::Ping
        );
        timer.handle_written(start + seconds(5), 0, true);
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
