//! Checks the limits of each row, and prints the table.

use std::fmt::Write as _;
use std::time::Duration;

use crate::ground::{Outcome, QUICK_ROUNDS};
use crate::scenario::{Limit, Scale, Scenario};

/// The time that the bystander of rbroker may always wait, even if mosquitto is quicker.
const WAIT: Duration = Duration::from_millis(50);

/// Memory that the broker may use for each byte that the attack has sent.
const FACTOR: u64 = 10;

/// Memory that the broker may always use, for buffers of connections.
const BUFFERS: u64 = 4_000_000;

/// A row of the table: an attack with its results.
pub(crate) struct Row {
    name: &'static str,
    title: &'static str,
    limit: Limit,
    scale: Scale,
    ours: Outcome,
    theirs: Option<Outcome>,
}

impl Row {
    pub(crate) fn new(
        scenario: &Scenario,
        scale: Scale,
        ours: Outcome,
        theirs: Option<Outcome>,
    ) -> Self {
        Self {
            name: scenario.name,
            title: scenario.title,
            limit: scenario.limit,
            scale,
            ours,
            theirs,
        }
    }

    /// Returns the limits that rbroker exceeds.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        if !self.ours.is_alive {
            failures.push("rbroker is dead or serves no new client".to_owned());
        }
        failures.extend(self.wait_failure());
        failures.extend(self.memory_failure());
        failures.extend(self.ours.unmet.iter().cloned());
        let named = failures.iter();
        named
            .map(|failure| format!("{}: {failure}", self.name))
            .collect()
    }

    fn wait_failure(&self) -> Option<String> {
        let observed = self.ours.observed;
        if observed.is_lost {
            return Some("the bystander lost its connection or got no answer".to_owned());
        }
        if self.scale == Scale::Quick {
            let rounds = observed.rounds;
            return (rounds < QUICK_ROUNDS).then(|| {
                format!("the bystander completed {rounds} round trips of {QUICK_ROUNDS}")
            });
        }
        let theirs = self.theirs.as_ref().map(|outcome| outcome.observed.worst);
        let bound = theirs.unwrap_or_default().max(WAIT);
        let worst = observed.worst;
        (worst > bound).then(|| {
            format!(
                "the bystander waited {}, more than {}",
                milliseconds(worst),
                milliseconds(bound)
            )
        })
    }

    fn memory_failure(&self) -> Option<String> {
        let [before, peak, _] = self.ours.memory;
        let taken = peak.saturating_sub(before);
        let bound = FACTOR * self.ours.sent + self.limit.bytes + BUFFERS;
        (taken > bound).then(|| {
            format!(
                "{} MB of memory were taken, more than {}",
                megabytes(taken),
                megabytes(bound)
            )
        })
    }

    /// Returns the row for a terminal.
    pub(crate) fn line(&self) -> String {
        let verdict = if self.failures().is_empty() {
            "ok    "
        } else {
            "FAILED"
        };
        let mut line = format!("{verdict} {:5} rbroker: {}", self.name, summary(&self.ours));
        if let Some(theirs) = &self.theirs {
            let _ = write!(line, " | mosquitto: {}", summary(theirs));
        }
        line
    }

    fn markdown(&self) -> String {
        let theirs = self.theirs.as_ref();
        let mut failures = self.failures().join("; ");
        if failures.is_empty() {
            failures.push_str("kept");
        }
        let limit = match self.limit.bytes {
            0 => String::new(),
            bytes => format!(" + {} ({})", megabytes(bytes), self.limit.reason),
        };
        format!(
            "| {} | {} | {}{limit} | {} | {} | {} | {} | {} | {} | {} | {} | {failures} |",
            self.name,
            self.title,
            megabytes(self.ours.sent),
            wait(Some(&self.ours)),
            wait(theirs),
            memory(Some(&self.ours)),
            memory(theirs),
            store(Some(&self.ours)),
            store(theirs),
            facts(Some(&self.ours)),
            facts(theirs),
        )
    }
}

/// Returns the page with all rows.
pub(crate) fn markdown(rows: &[Row], scale: Scale) -> String {
    let mut text = match scale {
        Scale::Quick => QUICK_HEAD.to_owned(),
        Scale::Full | Scale::Long => HEAD.to_owned(),
    };
    text += COLUMNS;
    for row in rows {
        text += &row.markdown();
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

const HEAD: &str = "\
# rbroker under attack

For operators who want to know what a hostile or unlucky client can do to the others. `cargo xtask siege` writes this
page: it starts a fresh broker on the loopback for each row, `rbroker` and then Debian's mosquitto with the same
configuration, and attacks it. A bystander with its own connection publishes to itself at QoS 1, waits for the message
and its acknowledgement, and sends PINGREQ, over and over; its longest round trip is the wait in the table. Attackers,
bystander and broker share one machine, so a wait is comparable within its row only. Memory is resident memory before
the attack, at its peak, and after it. All sizes are in MB.

A row fails if the bystander of rbroker waits longer than that of mosquitto and longer than 50 ms, if rbroker takes more
memory than ten times the bytes sent plus 4 MB for buffers of connections plus the limits named in the row, if rbroker
ends or serves no new client afterwards, or if an expectation of the row is not met.

";

const QUICK_HEAD: &str = "\
The short form: bounds in counts and bytes only.

";

const COLUMNS: &str = "\
| Row | Attack | sent | wait, rbroker | wait, mosquitto | memory, rbroker | memory, mosquitto | store, rbroker | store, mosquitto | facts, rbroker | facts, mosquitto | bounds |
| --- | --- | --- | ---: | ---: | --- | --- | ---: | ---: | --- | --- | --- |
";

fn summary(outcome: &Outcome) -> String {
    let mut parts = vec![
        wait(Some(outcome)),
        format!("memory {} MB", memory(Some(outcome))),
        format!("sent {} MB", megabytes(outcome.sent)),
    ];
    if outcome.store > 0 {
        parts.push(format!("store {} MB", megabytes(outcome.store)));
    }
    if !outcome.is_alive {
        parts.push("DEAD".to_owned());
    }
    parts.extend(outcome.facts.iter().cloned());
    parts.extend(outcome.unmet.iter().map(|unmet| format!("NOT: {unmet}")));
    parts.join(", ")
}

fn wait(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "–".to_owned();
    };
    let mut text = milliseconds(outcome.observed.worst);
    if outcome.observed.is_lost {
        text += ", lost";
    }
    text
}

fn memory(outcome: Option<&Outcome>) -> String {
    outcome.map_or_else(
        || "–".to_owned(),
        |outcome| outcome.memory.map(megabytes).join(" / "),
    )
}

fn store(outcome: Option<&Outcome>) -> String {
    match outcome.map(|outcome| outcome.store) {
        None | Some(0) => "–".to_owned(),
        Some(bytes) => megabytes(bytes),
    }
}

fn facts(outcome: Option<&Outcome>) -> String {
    let Some(outcome) = outcome else {
        return "–".to_owned();
    };
    let mut facts = outcome.facts.clone();
    if !outcome.is_alive {
        facts.insert(0, "**dead**".to_owned());
    }
    facts.join("; ")
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
