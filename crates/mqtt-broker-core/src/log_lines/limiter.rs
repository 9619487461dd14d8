//! [`LogLimiter`]: limits the number of log lines that one client or one address can cause in a second.
//!
//! A peer decides how often it connects or sends a rejected packet, so without limits it could fill the disk with log
//! lines. Each kind of event has a limit for each key. The key is the address of the peer without its port, or the
//! client identifier. Lines above the limit are omitted, and their number is logged at the end of the second. The
//! caller writes the line itself. Events are not counted while their log level is disabled.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use log::{Level, Metadata};
use mqtt_session::Excerpt;

use crate::log_lines::targets::{CONNECTIONS, EVENTS};

/// The length of the time window in which events are counted.
const WINDOW: Duration = Duration::from_secs(1);

/// Maximum number of keys with a count of their own. The events of all other keys are counted together, so that many
/// addresses do not take unlimited memory.
const MAXIMUM_KEYS: usize = 256;

/// Maximum length of a key in bytes. A longer client identifier is cut, because a client could choose one of 64 KiB.
const MAXIMUM_KEY: usize = 100;

/// An event that a peer can cause any number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LogEvent {
    /// A listener has accepted a socket. Counted by address.
    Accepted,
    /// The broker has closed a connection because `max_connections` or `global_max_connections` is reached. Counted by
    /// address.
    TooMany,
    /// The system cannot accept a connection, for example because of too many open files. Counted without a key.
    CannotAccept,
    /// The handshake or the stream of TLS or WebSocket has failed. Counted by address.
    TransportFailed,
    /// A client has a certificate of an outdated form, which was accepted. Counted by address.
    LegacyCertificate,
    /// The broker has accepted a CONNECT. Counted by address.
    Connected,
    /// The broker has rejected a CONNECT. Counted by address.
    Refused,
    /// A client has requested a session that belongs to another user or mount point. Counted by client.
    OtherOwner,
    /// A connection has ended. Counted by address.
    Disconnected,
    /// A client has published a message without permission. Counted by client.
    PublishDenied,
    /// A client has published a message above `message_size_limit`. Counted by client.
    PublishTooLarge,
    /// The broker has rejected a message because a limit of memory or storage is reached. Counted by client.
    PublishRefused,
    /// The broker has dropped a will that its client may not publish. Counted by client.
    WillDenied,
    /// The broker has not retained a message because a limit is reached. Counted without a key.
    NotRetained,
    /// The broker has not sent a message because it exceeds the client's Maximum Packet Size. Counted by client.
    NotSent,
}

impl LogEvent {
    /// Returns the limit of lines per second for one key. Programs that block addresses, such as fail2ban, count the
    /// lines of connections, so these events have a higher limit than those of messages.
    fn lines_per_second(self) -> u32 {
        match self {
            Self::Accepted | Self::Connected | Self::Refused | Self::Disconnected => 30,
            Self::TooMany | Self::TransportFailed => 10,
            _ => 1,
        }
    }

    /// Returns the log level of the event and of the line about omitted events.
    fn level(self) -> Level {
        match self {
            Self::TooMany | Self::CannotAccept | Self::TransportFailed => Level::Warn,
            Self::LegacyCertificate | Self::NotRetained | Self::NotSent => Level::Warn,
            _ => Level::Info,
        }
    }

    /// Returns the log target. `connection_messages false` turns off the target `CONNECTIONS`.
    fn target(self) -> &'static str {
        match self {
            Self::Accepted | Self::Connected | Self::Disconnected => CONNECTIONS,
            _ => EVENTS,
        }
    }

    /// Returns the beginning of the line that reports the number of omitted lines.
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

    /// Returns `true` if the logger writes lines of this level and target.
    fn is_wanted(self) -> bool {
        let (level, target) = (self.level(), self.target());
        level <= log::max_level() && {
            let metadata = Metadata::builder().level(level).target(target).build();
            log::logger().enabled(&metadata)
        }
    }
}

/// The counts of events, by event and key, in windows of one second.
#[derive(Debug, Default)]
pub struct LogLimiter {
    windows: BTreeMap<(LogEvent, Box<str>), Window>,
    /// The earliest end of a window with omitted lines. Windows without omitted lines need no timer: they are removed
    /// when another one is reported or when too many keys exist.
    due: Option<Instant>,
}

/// The events of one kind and key in one second.
#[derive(Debug)]
struct Window {
    ends: Instant,
    /// The number of lines that the caller was allowed to write.
    written: u32,
    /// The number of lines above the limit.
    omitted: u64,
}

impl LogLimiter {
    /// Counts an event. Returns `true` if the caller must log it, and `false` if the limit of `key` is reached or the
    /// log level is disabled.
    pub fn admits(&mut self, now: Instant, event: LogEvent, key: &str) -> bool {
        event.is_wanted() && self.counts(now, event, key)
    }

    /// Counts an event by the address of a peer, like [`LogLimiter::admits`]. The port is ignored, because it is
    /// different for each connection of a peer.
    pub fn admits_from(&mut self, now: Instant, event: LogEvent, peer: &str) -> bool {
        event.is_wanted() && self.counts(now, event, without_port(peer))
    }

    fn counts(&mut self, now: Instant, event: LogEvent, key: &str) -> bool {
        let mut entry = (event, clipped(key).into());
        if self.windows.len() >= MAXIMUM_KEYS && !self.windows.contains_key(&entry) {
            // If the keys of this second alone reach the maximum, further keys share one window.
            self.remove_ended(now);
            if self.windows.len() >= MAXIMUM_KEYS {
                entry.1 = "others".into();
            }
        }
        // The map takes the key, but the report below needs it too.
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

    /// Returns the time at which `handle_timeout` must be called, or `None` if no line was omitted.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }

    /// Logs the numbers of omitted lines of all windows that have ended.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.due.is_some_and(|due| due <= now) {
            self.remove_ended(now);
        }
    }

    /// Logs the numbers of omitted lines of all windows, because the broker shuts down.
    pub(crate) fn finish(&mut self) {
        for ((event, key), window) in std::mem::take(self).windows {
            window.report(event, &key);
        }
    }

    /// Removes the windows that have ended, and logs their numbers of omitted lines.
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

/// Returns the address without its port, such as `[::1]` for `[::1]:1883`. The path of a Unix socket has no port.
fn without_port(peer: &str) -> &str {
    match peer.rsplit_once(':') {
        Some((address, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => address,
        _ => peer,
    }
}

/// Cuts a key to `MAXIMUM_KEY` bytes, at a character boundary.
fn clipped(key: &str) -> &str {
    let end = (0..=MAXIMUM_KEY)
        .rev()
        .find(|end| key.is_char_boundary(*end));
    if key.len() > MAXIMUM_KEY {
        key.get(..end.unwrap_or(0)).unwrap_or_default()
    } else {
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_above_the_limit_are_omitted_for_the_rest_of_the_second() {
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
        // Without a call of `handle_timeout`, the next window begins with the next event.
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
        // The windows that have ended are removed to make room.
        assert!(admit_all(&mut limiter, start + WINDOW) >= MAXIMUM_KEYS);
    }

    #[test]
    fn ports_of_an_address_share_one_limit() {
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
