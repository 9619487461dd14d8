//! Keep alive (MQTT 5.0, 3.1.2.10). This module computes two times: when a client must send PINGREQ, and when the
//! silence of the peer ends the connection. A whole packet of the peer counts as activity. A large part of a packet
//! that arrives slowly counts too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mqtt_codec::Role;

/// Keep alive of one end of a connection.
#[derive(Debug)]
pub(super) struct KeepAlive {
    role: Role,
    /// Keep alive in seconds. 0 disables the keep alive.
    interval: u16,
    last_sent: Instant,
    last_received: Instant,
    /// Time at which the wait for PINGRESP started. `None` if no PINGREQ is unanswered.
    ping_sent: Option<Instant>,
    /// Number of unwritten output bytes up to the end of an unwritten PINGREQ, or 0 if no PINGREQ is unwritten.
    ping_unwritten: usize,
    /// Number of bytes of an incomplete packet that have already counted as activity.
    partial: usize,
    /// Client only: measures how fast the socket accepts bytes. `None` until the socket has left bytes unaccepted for
    /// the first time. Boxed, because most connections never need it.
    backlog: Option<Box<Backlog>>,
}

/// Estimates how long the most recently accepted bytes still need to leave this machine and the network link.
///
/// Accepted bytes may still wait in the operating system and on the link, and a PINGREQ waits after them. Their number
/// is unknown. The estimate assumes that they leave as fast as the socket has accepted the bytes before them.
#[derive(Debug, Default)]
struct Backlog {
    /// Earlier values of (`accepted`, `waited`), oldest first, at least `MARK_DISTANCE` bytes apart.
    marks: VecDeque<(u64, Duration)>,
    /// Number of bytes that the socket has accepted.
    accepted: u64,
    /// Total time for which output has waited for the socket.
    waited: Duration,
    /// Start of the current wait. `None` while no output waits for the socket.
    waits_since: Option<Instant>,
}

/// Assumed maximum number of bytes that wait below the output: in TLS, in the operating system, and on the link.
const BYTES_BELOW: u64 = 128 * 1024;

/// Minimum number of accepted bytes between two marks. Marks for each write would need memory without limit.
const MARK_DISTANCE: u64 = 4096;

/// Maximum extension of the wait for PINGRESP. Without a limit, a dead peer that has read slowly before would be
/// detected too late.
const MAXIMUM_BACKLOG: Duration = Duration::from_secs(120);

/// Number of additional bytes of an incomplete packet that count as activity. mosquitto uses the same number.
const PROGRESS: usize = 1000;

impl Backlog {
    fn handle_written(&mut self, now: Instant, count: usize, has_more: bool) {
        // The socket has accepted no byte, so the wait starts or continues.
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
        // One mark before the last `BYTES_BELOW` accepted bytes stays, because the estimate counts the waiting time
        // from this mark on.
        while self.marks.len() > 1 && self.marks.front().is_some_and(is_gone) {
            self.marks.pop_front();
        }
    }

    /// Returns the estimated time that the bytes below the output need to leave.
    fn duration(&self) -> Duration {
        // The bytes below the output were accepted after the first mark. The time that output has waited for the socket
        // since this mark is the estimate.
        let first = self.marks.front().map_or(self.waited, |mark| mark.1);
        (self.waited - first).min(MAXIMUM_BACKLOG)
    }
}

/// Action that is due.
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

    /// Records that a packet was added to the output at `now`.
    pub(super) fn handle_sent(&mut self, now: Instant) {
        self.last_sent = now;
    }

    /// Records that a whole packet was received.
    pub(super) fn handle_packet(&mut self, now: Instant) {
        self.partial = 0;
        self.handle_activity(now);
    }

    /// Records activity of the peer.
    pub(super) fn handle_activity(&mut self, now: Instant) {
        // Any packet shows that the peer is alive, so PINGRESP need not arrive.
        self.last_received = now;
        self.ping_sent = None;
    }

    /// Records that `available` bytes of an incomplete packet have arrived. Returns `true` if they count as activity.
    ///
    /// A packet that arrives for longer than the keep alive must not end the connection (MQTT 5.0, 3.1.2.10). The
    /// minimum of `PROGRESS` bytes prevents a peer from keeping the connection open with single bytes.
    pub(super) fn handle_incomplete_packet(&mut self, now: Instant, available: usize) -> bool {
        let is_progress = available >= self.partial + PROGRESS;
        if is_progress {
            self.partial = available;
            self.handle_activity(now);
        }
        is_progress
    }

    /// Records that a PINGREQ is in the output. `unwritten` is the number of unwritten bytes up to its end.
    pub(super) fn handle_queued_ping(&mut self, unwritten: usize) {
        self.ping_unwritten = unwritten;
    }

    /// Records that the socket has accepted `count` bytes of the output. `has_more` is `true` if more output waits.
    pub(super) fn handle_written(&mut self, now: Instant, count: usize, has_more: bool) {
        // Only a client waits for PINGRESP. The measurement starts when output waits for the first time.
        if self.role == Role::Client && (has_more || self.backlog.is_some()) {
            let backlog = self.backlog.get_or_insert_default();
            backlog.handle_written(now, count, has_more);
        }
        if self.ping_unwritten > 0 && count > 0 {
            // A PINGREQ may wait after a large packet. The wait for PINGRESP starts when the PINGREQ has been written.
            self.ping_unwritten = self.ping_unwritten.saturating_sub(count);
            self.ping_sent = self.ping_sent.map(|_| now);
        }
    }

    /// Returns the next deadline. At this time a server, or a client that waits for PINGRESP, considers the peer dead.
    /// Any other client must then send PINGREQ.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.interval == 0 {
            return None;
        }
        let interval = Duration::from_secs(self.interval.into());
        Some(match (self.role, self.ping_sent) {
            // A server waits one and a half times the keep alive [MQTT-3.1.2-22].
            (Role::Server, _) => self.last_received + interval * 3 / 2,
            (Role::Client, Some(ping_sent)) => {
                let backlog = self.backlog.as_ref();
                ping_sent + interval + backlog.map_or(Duration::ZERO, |backlog| backlog.duration())
            }
            // A client must send a packet within the keep alive [MQTT-3.1.2-20]. A client that only sends would never
            // send PINGREQ by this rule, so silence of the server makes PINGREQ due too.
            (Role::Client, None) => self.last_sent.min(self.last_received) + interval,
        })
    }

    /// Returns the action that is due at `now`. For `Ping`, the wait for PINGRESP starts.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> KeepAliveAction {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return KeepAliveAction::Nothing;
        }
        // Only a client sends PINGREQ. A server, and a client whose PINGREQ is unanswered, end the connection.
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

    /// A server waits one and a half times the keep alive [MQTT-3.1.2-22].
    #[test]
    fn server_waits_one_and_a_half_keep_alives() {
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

    /// A client must send a packet within the keep alive [MQTT-3.1.2-20].
    #[test]
    fn silent_client_pings_and_closes_without_an_answer() {
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
    fn client_that_sends_continuously_detects_a_silent_server() {
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

    /// The link transmits 8 KiB per second, and the operating system buffers 64 KiB.
    #[test]
    fn ping_after_slow_output_gets_more_time_for_its_answer() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Client, 5, start);
        timer.handle_sent(start);
        timer.handle_written(start, 64 * 1024, true);
        for second in 1..=30 {
            let now = start + seconds(second);
            match timer.handle_timeout(now) {
                KeepAliveAction::TimedOut => panic!("bytes leave all the time"),
                // The PINGREQ waits after more output than this test writes.
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
    fn peer_that_reads_nothing_gets_no_more_time() {
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
    fn keep_alive_zero_disables_the_deadline() {
        let start = Instant::now();
        let mut timer = KeepAlive::new(Role::Server, 0, start);
        assert_eq!(timer.deadline(), None);
        assert_eq!(
            timer.handle_timeout(start + seconds(1_000_000)),
            KeepAliveAction::Nothing
        );
    }
}
