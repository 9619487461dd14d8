//! The time in the store. Deadlines must mean the same after a restart, but no clock of the system does: monotonic
//! time begins anew, and the wall clock may be wrong until somebody sets it, for instance on a machine without a
//! battery for its clock.
//!
//! The store has its own time, in nanoseconds. Within a run this time passes as the core's time does, so that a jump
//! of the wall clock changes nothing. An anchor in the file has the same moment on all clocks; when the store is
//! opened, it tells how much time has passed since:
//!
//! - If the system has not been booted since, the time since its boot gives the exact value (Linux).
//! - Otherwise the wall clock gives the value, if neither of its times lies before the year of this program and it has
//!   not gone back.
//! - Otherwise the value is unknown. The broker then assumes that no time has passed, so deadlines are later by as long
//!   as the broker was down.
//!
//! The anchor is written when the store is opened and closed, with a commit if it is older than a minute, within a
//! minute after the wall clock was set, and once an hour.
//!
//! Limits. After a boot the broker cannot recognise a clock that is wrong, but neither implausible nor behind the
//! anchor: deadlines come early or late by its error. The same is true for an anchor that was written while the
//! clock was wrong, if the machine loses its power in the minute after the clock was set. If the time that the
//! broker was down is unknown, the up to 60 minutes that the anchor is old are lost, too.

use std::time::{Duration, Instant, SystemTime};

use super::StoreError;

/// Store time when a store is made. Later than zero, which stands for no time.
const START: u64 = 1_000_000_000;

/// The year of this program in seconds since 1970: a wall clock that says less is wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// Interval between looks at the wall clock, and age of an anchor that a commit renews.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// Age of an anchor that is renewed without a commit.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// If the wall clock deviates from the monotonic clock by more than this, it was set.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A moment on the clocks of the system.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// The core's time.
    pub now: Instant,
    /// The time of the wall clock.
    pub wall: SystemTime,
    /// The time since the system was booted, where the system tells it.
    pub boot: Option<BootTime>,
}

/// A moment since the system was booted. This clock goes on while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootTime {
    /// Differs for each boot.
    pub id: u128,
    /// The time since then.
    pub elapsed: Duration,
}

impl Clock {
    /// Returns this moment.
    pub fn now() -> Self {
        Self {
            now: Instant::now(),
            wall: SystemTime::now(),
            boot: BootTime::now(),
        }
    }

    /// Returns the time of the wall clock since 1970; zero if it says less.
    fn since_1970(&self) -> Duration {
        let since = self.wall.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default()
    }
}

impl BootTime {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now() -> Option<Self> {
        use nix::time::{ClockId, clock_gettime};
        static ID: std::sync::OnceLock<Option<u128>> = std::sync::OnceLock::new();
        let read = || {
            let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
            u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
        };
        let id = (*ID.get_or_init(read))?;
        let elapsed = clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?.into();
        Some(Self { id, elapsed })
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn now() -> Option<Self> {
        None
    }
}

/// Store time within a run: the core's time, from a moment on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    at: Instant,
    time: u64,
}

impl Timeline {
    /// The timeline of a new store.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            time: START,
        }
    }

    /// Returns the store time of this moment, which is never zero.
    pub(super) fn time_of(self, instant: Instant) -> u64 {
        let time = match instant.checked_duration_since(self.at) {
            Some(ahead) => self.time.saturating_add(nanoseconds(ahead)),
            None => self.time.saturating_sub(nanoseconds(self.at - instant)),
        };
        time.max(1)
    }

    /// Returns the moment of this store time, or `now` if it has passed.
    pub(super) fn instant_of(self, time: u64, now: Instant) -> Instant {
        let ahead = Duration::from_nanos(time.saturating_sub(self.time));
        self.at.checked_add(ahead).map_or(now, |then| then.max(now))
    }
}

/// A moment in store time and on the clocks of the system, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    time: u64,
    /// Since 1970.
    wall: u64,
    /// The boot, 0 if that is unknown, and the time since then.
    boot: (u128, u64),
}

impl Anchor {
    pub(super) fn new(timeline: Timeline, clock: Clock) -> Self {
        let boot = clock.boot.map(|boot| (boot.id, nanoseconds(boot.elapsed)));
        Self {
            time: timeline.time_of(clock.now),
            wall: nanoseconds(clock.since_1970()),
            boot: boot.unwrap_or_default(),
        }
    }

    /// Continues the time of the anchor, which an earlier run has written.
    pub(super) fn timeline(self, clock: Clock) -> Timeline {
        let elapsed = nanoseconds(self.elapsed(clock));
        Timeline {
            at: clock.now,
            time: self.time.saturating_add(elapsed),
        }
    }

    /// Returns the time that has passed since the anchor was written, as far as that can be known.
    fn elapsed(self, clock: Clock) -> Duration {
        let (id, before) = (self.boot.0, Duration::from_nanos(self.boot.1));
        let same_boot = clock.boot.filter(|boot| boot.id == id && id != 0);
        // A container may have a boot time of its own, which begins anew.
        if let Some(elapsed) = same_boot.and_then(|boot| boot.elapsed.checked_sub(before)) {
            return elapsed;
        }
        let before = Duration::from_nanos(self.wall);
        match before < EARLIEST {
            true => Duration::ZERO,
            false => clock.since_1970().saturating_sub(before),
        }
    }

    /// Returns `true` if a commit of something, or of nothing, has to renew the anchor.
    pub(super) fn is_outdated(self, timeline: Timeline, clock: Clock, has_mutations: bool) -> bool {
        let passed = timeline.time_of(clock.now).saturating_sub(self.time);
        let expected = self.wall.saturating_add(passed);
        let wall = nanoseconds(clock.since_1970());
        let longest = match has_mutations {
            true => CHECK_INTERVAL,
            false => RENEWAL,
        };
        wall.abs_diff(expected) > nanoseconds(TOLERANCE) || passed >= nanoseconds(longest)
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(self.time.to_be_bytes());
        bytes.extend(self.wall.to_be_bytes());
        bytes.extend(self.boot.0.to_be_bytes());
        bytes.extend(self.boot.1.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        Self::from_parts(bytes).ok_or(StoreError::Corrupt("the time of the store is invalid"))
    }

    fn from_parts(bytes: &[u8]) -> Option<Self> {
        let (time, rest) = bytes.split_first_chunk()?;
        let (wall, rest) = rest.split_first_chunk()?;
        let (id, rest) = rest.split_first_chunk()?;
        let elapsed = rest.try_into().ok()?;
        Some(Self {
            time: u64::from_be_bytes(*time),
            wall: u64::from_be_bytes(*wall),
            boot: (u128::from_be_bytes(*id), u64::from_be_bytes(elapsed)),
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const BOOT: BootTime = BootTime {
        id: 1,
        elapsed: HOUR,
    };

    /// A wall clock so long after the beginning of this program's year.
    fn clock(now: Instant, wall: Duration, boot: Option<BootTime>) -> Clock {
        Clock {
            now,
            wall: SystemTime::UNIX_EPOCH + EARLIEST + wall,
            boot,
        }
    }

    #[test]
    fn boot_time_is_known_on_linux() {
        let boot = Clock::now().boot;
        assert_eq!(boot.is_some(), cfg!(target_os = "linux"));
        let later = Clock::now().boot;
        assert!(later.map(|boot| boot.elapsed) >= boot.map(|boot| boot.elapsed));
        assert_eq!(later.map(|boot| boot.id), boot.map(|boot| boot.id));
    }

    #[test]
    fn what_has_passed_since_the_anchor_is_what_can_be_known() {
        let now = Instant::now();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let later = |id, passed| BootTime {
            id,
            elapsed: HOUR + passed,
        };
        let anchor = |boot| Anchor::new(Timeline::new(now), clock(now, 10 * HOUR, boot));
        let cases = [
            // The same boot: the wall clock does not matter.
            (
                Some(BOOT),
                10 * HOUR,
                Some(later(1, minutes(7))),
                minutes(7),
            ),
            (
                Some(BOOT),
                9999 * HOUR,
                Some(later(1, minutes(7))),
                minutes(7),
            ),
            (
                Some(BOOT),
                Duration::ZERO,
                Some(later(1, minutes(7))),
                minutes(7),
            ),
            // Another one, or none that is known: that of the wall clock.
            (Some(BOOT), 11 * HOUR, Some(later(2, minutes(7))), HOUR),
            (None, 11 * HOUR, None, HOUR),
            (None, 11 * HOUR, Some(later(2, minutes(7))), HOUR),
            // The boot time of another container, and a clock that went back.
            (Some(later(1, HOUR)), 11 * HOUR, Some(BOOT), HOUR),
            (
                Some(BOOT),
                9 * HOUR,
                Some(later(2, minutes(7))),
                Duration::ZERO,
            ),
        ];
        for (before, wall, after, passed) in cases {
            let elapsed = anchor(before).elapsed(clock(now, wall, after));
            assert_eq!(elapsed, passed, "{before:?} {wall:?} {after:?}");
        }
        // A clock from before this program is wrong, at either end.
        let wrong = Clock {
            wall: SystemTime::UNIX_EPOCH + HOUR,
            ..clock(now, HOUR, None)
        };
        let right = clock(now, HOUR, None);
        let elapsed = |from, to| Anchor::new(Timeline::new(now), from).elapsed(to);
        assert_eq!(elapsed(wrong, right), Duration::ZERO);
        assert_eq!(elapsed(right, wrong), Duration::ZERO);
    }

    #[test]
    fn an_anchor_is_renewed_when_the_clock_was_set_or_it_is_old() {
        let now = Instant::now();
        let timeline = Timeline::new(now);
        let anchor = Anchor::new(timeline, clock(now, HOUR, Some(BOOT)));
        let outdated = |passed: u64, wall: Duration, has_mutations| {
            let now = now + Duration::from_secs(passed);
            anchor.is_outdated(timeline, clock(now, wall, Some(BOOT)), has_mutations)
        };
        let seconds = Duration::from_secs;
        assert!(!outdated(10, HOUR + seconds(10), true));
        assert!(outdated(10, HOUR + seconds(12), true));
        assert!(outdated(10, HOUR + seconds(8), false));
        assert!(outdated(60, HOUR + seconds(60), true));
        assert!(!outdated(60, HOUR + seconds(60), false));
        assert!(outdated(3600, 2 * HOUR, false));
    }

    #[test]
    fn an_anchor_is_read_as_it_was_written() {
        let now = Instant::now();
        let anchor = Anchor::new(Timeline::new(now), clock(now, HOUR, Some(BOOT)));
        let again = Anchor::decode(&anchor.encode()).unwrap();
        assert_eq!(anchor.encode(), again.encode());
        assert!(Anchor::decode(&anchor.encode()[1..]).is_err());
    }
}
