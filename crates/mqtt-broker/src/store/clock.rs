//! Store time: the time scale of the deadlines in the store, such as the end of a session. A deadline must survive a
//! restart of the broker, but neither clock of the system is suitable: monotonic time begins anew with each boot, and
//! the wall clock may be wrong, for example on a machine without a battery for its clock.
//!
//! Store time is therefore a scale of its own, in nanoseconds. Within a run it advances with monotonic time, so that
//! setting the wall clock changes nothing. The file has an anchor: one moment in store time, on the wall clock, and on
//! the clock since the boot. When the store is opened, the anchor is used to compute how much time has passed:
//!
//! - If the system was not booted since, the clock since the boot gives the exact time (Linux).
//! - Otherwise the wall clock gives the time, if it shows a later time than the wall clock of the anchor, and neither
//!   of them shows a time before `EARLIEST`.
//! - Otherwise the time is unknown, and the broker assumes that no time has passed. All deadlines are then delayed by
//!   the time for which the broker was down.
//!
//! The anchor is written when the store is opened, when the broker ends, with a commit if the anchor is older than a
//! minute, within a minute after the wall clock was set, and once an hour.
//!
//! Limits: After a boot, the broker cannot recognise a wrong wall clock that shows a later time than the anchor. All
//! deadlines are then early or late by the error of the clock. The same happens if the machine loses power within a
//! minute after the wall clock was set, because the anchor then still has the old, wrong time. If the time is unknown,
//! deadlines are delayed further by the age that the anchor had at the end of the run, at most 60 minutes.

use crate::store::error::StoreError;
use std::time::{Duration, Instant, SystemTime};

/// The store time at which a store is created, in nanoseconds. It is not zero, because zero stands for no time.
const START: u64 = 1_000_000_000;

/// The beginning of the year in which this program was made, as a time since 1970. A wall clock with an earlier time is
/// wrong.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);

/// The interval at which the wall clock is compared with monotonic time. A commit also renews an anchor of this age.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// The age at which the anchor is renewed even if no mutation must be committed.
const RENEWAL: Duration = Duration::from_secs(60 * 60);

/// Maximum deviation of the wall clock from monotonic time. A larger deviation means that the wall clock was set.
const TOLERANCE: Duration = Duration::from_secs(1);

/// A reading of all clocks of the system at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Monotonic time, which the broker core uses.
    pub now: Instant,
    /// The time of the wall clock.
    pub wall: SystemTime,
    /// The time since the boot. `None` if the system does not report it.
    pub boot: Option<BootTime>,
}

/// A moment on the clock since the boot, which also advances while the machine sleeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootTime {
    /// The identifier of the boot, which is different for each boot.
    pub id: u128,
    /// The time since the boot.
    pub elapsed: Duration,
}

impl Clock {
    /// Returns the current moment.
    pub fn now() -> Self {
        Self {
            now: Instant::now(),
            wall: SystemTime::now(),
            boot: BootTime::now(),
        }
    }

    /// Returns the time of the wall clock since 1970, or zero if the wall clock shows an earlier time.
    fn since_1970(&self) -> Duration {
        let since = self.wall.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default()
    }
}

impl BootTime {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn now() -> Option<Self> {
        use nix::time::{ClockId, clock_gettime};
        // The identifier of the boot cannot change while the process runs, so the file is read once.
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

/// The store time in one run: a moment in monotonic time, and the same moment in store time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeline {
    at: Instant,
    time: u64,
}

impl Timeline {
    /// Returns the timeline of a new store.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            at: now,
            time: START,
        }
    }

    /// Returns the store time of an instant. The result is never zero.
    pub(super) fn time_of(self, instant: Instant) -> u64 {
        let time = match instant.checked_duration_since(self.at) {
            Some(ahead) => self.time.saturating_add(nanoseconds(ahead)),
            None => self.time.saturating_sub(nanoseconds(self.at - instant)),
        };
        time.max(1)
    }

    /// Returns the instant of a store time, or `now` if the store time has passed.
    pub(super) fn instant_of(self, time: u64, now: Instant) -> Instant {
        let ahead = Duration::from_nanos(time.saturating_sub(self.time));
        self.at.checked_add(ahead).map_or(now, |then| then.max(now))
    }
}

/// Relates store time to the clocks of the system: the values of all of them at one moment, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    /// The store time.
    time: u64,
    /// The wall clock, since 1970.
    wall: u64,
    /// The identifier of the boot, or 0 if it is unknown, and the time since the boot.
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

    /// Returns the timeline that continues the store time after an earlier run has written this anchor.
    pub(super) fn timeline(self, clock: Clock) -> Timeline {
        let elapsed = nanoseconds(self.elapsed(clock));
        Timeline {
            at: clock.now,
            time: self.time.saturating_add(elapsed),
        }
    }

    /// Returns the time that has passed since the anchor was written, or zero if that is unknown.
    fn elapsed(self, clock: Clock) -> Duration {
        let (id, before) = (self.boot.0, Duration::from_nanos(self.boot.1));
        let same_boot = clock.boot.filter(|boot| boot.id == id && id != 0);
        // In a container this clock may count from the start of the container. If it is lower than in the anchor, it is
        // not used.
        if let Some(elapsed) = same_boot.and_then(|boot| boot.elapsed.checked_sub(before)) {
            return elapsed;
        }
        let before = Duration::from_nanos(self.wall);
        // Neither clock may be before `EARLIEST`. If only the current one is, the subtraction below saturates to zero.
        if before < EARLIEST {
            Duration::ZERO
        } else {
            clock.since_1970().saturating_sub(before)
        }
    }

    /// Returns `true` if the anchor must be renewed: the wall clock was set, or the anchor is too old. A commit with
    /// mutations renews an anchor earlier, because it writes to the disk anyway.
    pub(super) fn is_outdated(self, timeline: Timeline, clock: Clock, has_mutations: bool) -> bool {
        let passed = timeline.time_of(clock.now).saturating_sub(self.time);
        let expected = self.wall.saturating_add(passed);
        let wall = nanoseconds(clock.since_1970());
        let longest = if has_mutations {
            CHECK_INTERVAL
        } else {
            RENEWAL
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

    /// Returns a moment at which the wall clock shows `wall` after the beginning of the program's year.
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
    fn elapsed_time_since_the_anchor_is_limited_to_what_the_clocks_prove() {
        let now = Instant::now();
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        let later = |id, passed| BootTime {
            id,
            elapsed: HOUR + passed,
        };
        let anchor = |boot| Anchor::new(Timeline::new(now), clock(now, 10 * HOUR, boot));
        let cases = [
            // After the same boot, the wall clock does not matter.
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
            // After another boot, or if the boot is unknown, the wall clock decides.
            (Some(BOOT), 11 * HOUR, Some(later(2, minutes(7))), HOUR),
            (None, 11 * HOUR, None, HOUR),
            (None, 11 * HOUR, Some(later(2, minutes(7))), HOUR),
            // A lower clock of the same boot, as in another container, is not used. After another boot, a wall clock
            // that went back gives no time.
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
        // A wall clock before `EARLIEST` is wrong, whether it is the clock of the anchor or the current one.
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
    fn anchor_survives_a_round_trip() {
        let now = Instant::now();
        let anchor = Anchor::new(Timeline::new(now), clock(now, HOUR, Some(BOOT)));
        let again = Anchor::decode(&anchor.encode()).unwrap();
        assert_eq!(anchor.encode(), again.encode());
        assert!(Anchor::decode(&anchor.encode()[1..]).is_err());
    }
}
