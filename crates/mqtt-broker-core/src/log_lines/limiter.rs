//! [`LogLimiter`]: how many log lines a client or an address can cause.
//!
//! A peer decides how often an event happens, so each event that is logged has a limit for each key: the address of
//! the peer without its port, or the client. Lines above it are counted, and the count is logged when the second is
//! over. The lines themselves are written where the events happen. Nothing is remembered while the log does not want
//! such lines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::{Level, Metadata};
use mqtt_session::Excerpt;

use crate::log_lines::targets::{CONNECTIONS, EVENTS};

/// The time for which events are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Maximum number of keys with a count of their own; the events of all others are counted together.
const MAXIMUM_KEYS: usize = 256;

/// Maximum length of a key in bytes; a client chooses its identifier.
const MAXIMUM_KEY: usize = 100;

/// An event that a peer can cause as often as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogEvent {
    /// A socket was accepted. By address.
    Accepted,
    /// A connection was closed because there are too many. By address.
    TooMany,
    /// The system has no room for another connection. Without a key.
    CannotAccept,
    /// TLS or WebSocket failed. By address.
    TransportFailed,
    /// The certificate of a client is of an old kind. By address.
    LegacyCertificate,
    /// A CONNECT was accepted. By address.
    Connected,
    /// A CONNECT was refused. By address.
    Refused,
    /// A session was asked for that belongs to somebody else. By client.
    OtherOwner,
    /// A connection has ended. By address.
    Disconnected,
    /// A message was published without permission. By client.
    PublishDenied,
    /// A message was larger than the limit. By client.
    PublishTooLarge,
    /// There was no room for a message. By client.
    PublishRefused,
    /// A will was published without permission. By client.
    WillDenied,
    /// There was no room to retain a message. Without a key.
    NotRetained,
    /// A message was larger than its receiver takes. By client.
    NotSent,
}

impl LogEvent {
    /// Programs that block addresses count lines of connections, so there are more of these than of messages.
    fn lines_per_second(self) -> u32 {
        match self {
            Self::Accepted | Self::Connected | Self::Refused | Self::Disconnected => 30,
            Self::TooMany | Self::TransportFailed => 10,
            _ => 1,
        }
    }

    fn level(self) -> Level {
        match self {
            Self::TooMany | Self::CannotAccept | Self::TransportFailed => Level::Warn,
            Self::LegacyCertificate | Self::NotRetained | Self::NotSent => Level::Warn,
            _ => Level::Info,
        }
    }

    fn target(self) -> &'static str {
        match self {
            Self::Accepted | Self::Connected | Self::Disconnected => CONNECTIONS,
            _ => EVENTS,
        }
    }

    /// The beginning of the line that reports how many events were left out.
    fn subject(self) -> &'static str {
        match self {
            Self::Accepted => "New connections from",
            Self::TooMany => "Connections closed because there are too many, from",
            Self::CannotAccept => "Connections that cannot be accepted",
            Self::TransportFailed => "Connections failed, from",
            Self::LegacyCertificate => "Connections with an outdated certificate, from",
            Self::Connected => "Clients connected from",
            Self::Refused => "Clients refused, from",
            Self::OtherOwner => {
                "Clients rejected because their session has another owner, with the identifier"
            }
            Self::Disconnected => "Clients disconnected, from",
            Self::PublishDenied => "Denied PUBLISH from",
            Self::PublishTooLarge => "Dropped too large PUBLISH from",
            Self::PublishRefused => "Refused PUBLISH from",
            Self::WillDenied => "Denied will of",
            Self::NotRetained => "Messages not retained because a limit is reached",
            Self::NotSent => "Messages not sent to client",
        }
    }

    fn is_wanted(self) -> bool {
        let (level, target) = (self.level(), self.target());
        level <= log::max_level() && {
            let metadata = Metadata::builder().level(level).target(target).build();
            log::logger().enabled(&metadata)
        }
    }
}

/// Counts the events of one second, by event and key.
#[derive(Debug, Default)]
pub struct LogLimiter {
    windows: BTreeMap<(LogEvent, Box<str>), Window>,
    /// The end of the first window from which lines were left out.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Window {
    ends: Instant,
    written: u32,
    omitted: u64,
}

impl LogLimiter {
    /// Returns `true` if the caller is to log this event; `false` if its line is left out or not wanted.
    pub fn admits(&mut self, now: Instant, event: LogEvent, key: &str) -> bool {
        event.is_wanted() && self.counts(now, event, key)
    }

    /// Counts by the address of a peer, whose port changes with each connection, and otherwise as `admits`.
    pub fn admits_from(&mut self, now: Instant, event: LogEvent, peer: &str) -> bool {
        event.is_wanted() && self.counts(now, event, without_port(peer))
    }

    fn counts(&mut self, now: Instant, event: LogEvent, key: &str) -> bool {
        let mut entry = (event, clipped(key).into());
        if self.windows.len() >= MAXIMUM_KEYS && !self.windows.contains_key(&entry) {
            self.remove_ended(now);
            if self.windows.len() >= MAXIMUM_KEYS {
                entry.1 = "others".into();
            }
        }
        let key = entry.1.clone();
        let window = self
            .windows
            .entry(entry)
            .or_insert_with(|| Window::new(now));
        if window.ends <= now {
            window.report(event, &key);
            *window = Window::new(now);
        }
        if window.written < event.lines_per_second() {
            window.written += 1;
            return true;
        }
        window.omitted += 1;
        let ends = window.ends;
        self.due = Some(self.due.map_or(ends, |due| due.min(ends)));
        false
    }

    /// When `handle_timeout` wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Logs what was left out of the seconds that are over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.remove_ended(now);
        }
    }

    /// Logs everything that was left out.
    pub(crate) fn finish(&mut self) {
        for ((event, key), window) in std::mem::take(self).windows {
            window.report(event, &key);
        }
    }

    fn remove_ended(&mut self, now: Instant) {
        self.windows.retain(|(event, key), window| {
            let has_ended = window.ends <= now;
            if has_ended {
                window.report(*event, key);
            }
            !has_ended
        });
        let left = self.windows.values().filter(|window| window.omitted > 0);
        self.due = left.map(|window| window.ends).min();
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self {
            ends: now + WINDOW,
            written: 0,
            omitted: 0,
        }
    }

    fn report(&self, event: LogEvent, key: &str) {
        if self.omitted > 0 {
            let (subject, count) = (event.subject(), self.omitted);
            let space = if key.is_empty() { "" } else { " " };
            log::log!(
                target: event.target(),
                event.level(),
                "{subject}{space}{}: {count} more in the last second.",
                Excerpt(key)
            );
        }
    }
}

/// The address of `127.0.0.1:1883` or `[::1]:1883`. Paths of Unix sockets have no port.
fn without_port(peer: &str) -> &str {
    match peer.rsplit_once(':') {
        Some((address, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => address,
        _ => peer,
    }
}

fn clipped(key: &str) -> &str {
    let end = (0..=MAXIMUM_KEY)
        .rev()
        .find(|end| key.is_char_boundary(*end));
    match key.len() > MAXIMUM_KEY {
        true => key.get(..end.unwrap_or(0)).unwrap_or_default(),
        false => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_limit_are_left_out_until_the_second_is_over() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        let event = LogEvent::PublishDenied;
        let admitted = |limiter: &mut LogLimiter, now, key: &str| {
            (0..100).filter(|_| limiter.counts(now, event, key)).count()
        };
        assert_eq!(admitted(&mut limiter, start, "a"), 1);
        assert_eq!(
            admitted(&mut limiter, start, "b"),
            1,
            "each key has its own"
        );
        assert_eq!(limiter.poll_timeout(), Some(start + WINDOW));
        let reported = limiter.windows.values().map(|window| window.omitted);
        assert_eq!(reported.sum::<u64>(), 2 * 99);
        limiter.handle_timeout(start + WINDOW);
        assert!(limiter.windows.is_empty());
        assert_eq!(limiter.poll_timeout(), None);
        assert_eq!(admitted(&mut limiter, start + WINDOW, "a"), 1);
        // The next second begins with the next event if nobody asks before.
        assert_eq!(admitted(&mut limiter, start + 3 * WINDOW, "a"), 1);
    }

    #[test]
    fn ten_lines_of_an_address_in_a_second_are_written_and_nothing_is_due() {
        let (mut limiter, now) = (LogLimiter::default(), Instant::now());
        for event in [LogEvent::Accepted, LogEvent::Connected, LogEvent::Refused] {
            assert!((0..10).all(|_| limiter.counts(now, event, "127.0.0.1")));
        }
        assert_eq!(limiter.poll_timeout(), None);
    }

    #[test]
    fn any_number_of_keys_of_any_length_needs_little_memory() {
        let (mut limiter, start) = (LogLimiter::default(), Instant::now());
        let admit_all = |limiter: &mut LogLimiter, now| {
            (0..10_000)
                .filter(|number| {
                    let key = format!("{number}{}", "é".repeat(30_000));
                    limiter.counts(now, LogEvent::WillDenied, &key)
                })
                .count()
        };
        assert!(admit_all(&mut limiter, start) <= MAXIMUM_KEYS + 4);
        assert!(limiter.windows.len() <= MAXIMUM_KEYS + 1);
        assert!(
            limiter
                .windows
                .keys()
                .all(|(_, key)| key.len() <= MAXIMUM_KEY)
        );
        // Those whose second is over make room.
        assert!(admit_all(&mut limiter, start + WINDOW) >= MAXIMUM_KEYS);
    }

    #[test]
    fn ports_are_no_part_of_an_address() {
        let table = [
            ("127.0.0.1:1883", "127.0.0.1"),
            ("[::1]:5", "[::1]"),
            ("/run/mqtt.socket", "/run/mqtt.socket"),
            ("", ""),
        ];
        for (peer, address) in table {
            assert_eq!(without_port(peer), address);
        }
    }
}
