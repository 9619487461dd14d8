//! [`Rates`]: the growth of counters per minute, averaged over 1, 5 and 15 minutes as mosquitto does.

use std::time::{Duration, Instant};

use crate::stats::value::Value;

/// The names of the counters that have a rate, in the order of `Rates::counts`.
const GROWING: [&str; 9] = [
    "messages/received",
    "messages/sent",
    "publish/dropped",
    "publish/received",
    "publish/sent",
    "bytes/received",
    "bytes/sent",
    "sockets",
    "connections",
];

/// The windows over which a rate is averaged, in seconds.
const WINDOWS: [(&str, f64); 3] = [("1min", 60.0), ("5min", 300.0), ("15min", 900.0)];

/// The growth of the counters in `GROWING` per minute.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// The counts at the last update.
    counts: [u64; GROWING.len()],
    /// The time of the last update.
    taken: Option<Instant>,
    /// The average of each counter over each window.
    averages: [[f64; WINDOWS.len()]; GROWING.len()],
}

impl Rates {
    /// Updates the averages with the current counts. Each average is an exponentially weighted moving average: the rate
    /// since the last update has more weight if that update was longer ago.
    pub(crate) fn take(&mut self, now: Instant, counts: [u64; GROWING.len()]) {
        let before = self.taken.replace(now);
        let since = before.map_or(Duration::ZERO, |before| now - before);
        let seconds = since.as_secs_f64();
        let growth = counts
            .iter()
            .zip(std::mem::replace(&mut self.counts, counts));
        for (averages, (count, before)) in self.averages.iter_mut().zip(growth) {
            if seconds == 0.0 {
                continue; // the first update, or two updates at the same time: no rate can be computed
            }
            let rate = count.saturating_sub(before) as f64 * 60.0 / seconds;
            for (average, (_, window)) in averages.iter_mut().zip(WINDOWS) {
                *average = rate + (*average - rate) * decay(seconds / window);
            }
        }
    }

    /// Returns the averages as values with the names `load/COUNTER/WINDOW`.
    pub(crate) fn values(&self) -> impl Iterator<Item = Value> {
        GROWING
            .iter()
            .zip(self.averages)
            .flat_map(|(name, averages)| {
                WINDOWS
                    .iter()
                    .zip(averages)
                    .map(move |((window, _), average)| Value {
                        name: format!("load/{name}/{window}"),
                        text: format!("{average:.2}"),
                    })
            })
    }
}

/// Returns e to the power of `-time`, accurate to five digits. `f64::exp` would be the only function that needs the
/// mathematical library of the system.
fn decay(time: f64) -> f64 {
    const STEPS: i32 = 1 << 20;
    (1.0 + time / f64::from(STEPS)).powi(-STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::value::value;

    #[test]
    fn rates_are_averages_over_their_window() {
        let start = Instant::now();
        let mut rates = Rates::default();
        // The counters grow by 10 each second for an hour, and then not at all for a minute.
        for second in 0..=3600 {
            rates.take(
                start + Duration::from_secs(second),
                [second * 10; GROWING.len()],
            );
        }
        let first = |rates: &Rates| rates.values().next().unwrap();
        assert_eq!(
            first(&rates),
            value("load/messages/received/1min", "600.00")
        );
        rates.take(start + Duration::from_secs(3660), [36000; GROWING.len()]);
        assert_eq!(first(&rates).text, "220.73"); // 600 / e
    }
}
