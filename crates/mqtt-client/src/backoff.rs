//! [`Backoff`] computes the waits between attempts to connect.

use std::time::Duration;

/// Wait before the second attempt, without jitter.
const FIRST: Duration = Duration::from_secs(1);

/// Maximum wait without jitter. With jitter the maximum is 30 seconds.
const LONGEST: Duration = Duration::from_secs(24);

/// Waits that double from one second on. A random jitter changes each wait by up to a quarter, so that the clients of a
/// broker do not all reconnect at the same time. The maximum with jitter is 30 seconds.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// Returns the next wait. `random` determines the jitter: 0 shortens the wait by a quarter, and `u32::MAX`
    /// lengthens it by a quarter.
    pub fn next(&mut self, random: u32) -> Duration {
        // `LONGEST` applies from the sixth wait on, so the limit of the shift changes no wait. The limit prevents an
        // overflow.
        let wait = FIRST.saturating_mul(1 << self.attempts.min(5)).min(LONGEST);
        self.attempts += 1;
        let jitter = f64::from(random) / f64::from(u32::MAX) / 2.0 - 0.25;
        wait.mul_f64(1.0 + jitter)
    }

    /// Starts again with the first wait. The caller calls this method when a connection has made progress.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_maximum_and_restart_after_success() {
        let mut backoff = Backoff::default();
        let middle = u32::MAX / 2 + 1;
        let waits: Vec<_> = (0..7)
            .map(|_| backoff.next(middle).as_secs_f64().round())
            .collect();
        assert_eq!(waits, [1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 24.0]);
        backoff.reset();
        assert_eq!(backoff.next(0), Duration::from_millis(750));
        backoff.reset();
        assert_eq!(backoff.next(u32::MAX), Duration::from_millis(1250));
        let longest = (0..40).map(|_| backoff.next(u32::MAX)).max();
        assert_eq!(longest, Some(Duration::from_secs(30)));
    }
}
