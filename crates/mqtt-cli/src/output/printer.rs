//! Handles each message that rsub and rrr print: filters it, counts it, and appends its text to memory.
//!
//! [`crate::output::ack_queue`] then writes the text to standard output.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use mqtt_client::session::Printable;
use mqtt_codec::{PublishRef, TopicFilter, TopicName};

use crate::jsonl;
use crate::output::diff::Diff;
use crate::output::format::{Format, Style, Unprintable, visible};
use crate::output::messages::{complain, warn};
use crate::output::selection::{Rules, Selected, Selection, Waiting};
use crate::output::watch::{self, Watch};

/// The rules by which messages are selected and printed.
#[derive(Debug, Default)]
pub(crate) struct Printing {
    pub(crate) format: Option<Format>,
    pub(crate) style: Style,
    pub(crate) verbose: bool,
    /// Set if handlers get the messages, and nothing is printed.
    pub(crate) is_silent: bool,
    /// Set by `--jsonl`. Messages are then printed in the form of docs/jsonl.md.
    pub(crate) jsonl: bool,
    /// The byte after each message: a newline, or NUL with `-0`. `None` with `-N`.
    pub(crate) end: Option<u8>,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    /// Set by `--snapshot`. Messages that are not retained are then dropped.
    pub(crate) is_snapshot: bool,
    /// The backup of `--diff`. The differences are then printed instead of the messages.
    pub(crate) diff: Option<Diff>,
    pub(crate) remove_retained: bool,
    pub(crate) filter_out: Vec<TopicFilter>,
    /// The rules of `--on-change` and `--every`.
    pub(crate) selection: Option<Rules>,
    /// The percentage of messages that are printed; `None` means all.
    pub(crate) chance: Option<f64>,
    /// The host that the heading of `--watch` names. `None` without `--watch`.
    pub(crate) watch: Option<String>,
    pub(crate) message_rate: bool,
    pub(crate) quiet: bool,
}

/// Prints messages into memory.
#[derive(Debug)]
pub(crate) struct Printer {
    printing: Printing,
    /// The number of messages that count for `-C`. A message that `--random-filter` drops counts, too.
    pub(crate) count: u64,
    /// The topics whose retained messages must be removed from the broker.
    pub(crate) to_remove: Vec<TopicName>,
    random: fastrand::Rng,
    /// The messages that `--on-change` and `--every` have printed or withheld.
    selection: Option<Box<Selection>>,
    /// The screen of `--watch`.
    watch: Option<Watch>,
    rate: Rate,
}

/// The outcome of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// The message passes the filters and counts for `-C`, even if `--random-filter` then drops it.
    Taken,
    /// A filter of the user rejects the message, or `--every` prints it later.
    Dropped,
    /// The message is the first one without RETAIN, and the user wants retained messages only.
    EndOfRetained,
}

/// The warning if the topics of `--on-change` and `--every` have no room.
const FULL: &str =
    "Too many topics for --on-change and --every: all messages of further topics are printed.";

/// The messages of the current second, for `--message-rate`.
#[derive(Debug, Default)]
struct Rate {
    messages: u64,
    next: Option<Instant>,
}

impl Printer {
    /// Creates a printer that has printed nothing.
    pub(crate) fn new(printing: Printing) -> Self {
        Self {
            watch: printing.watch.clone().map(Watch::new),
            selection: printing.selection.clone().map(Selection::new).map(Box::new),
            printing,
            count: 0,
            to_remove: Vec::new(),
            random: fastrand::Rng::new(),
            rate: Rate::default(),
        }
    }

    /// Prints the heading of `--watch`, if it is set.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if let Some(watch) = &self.watch {
            watch.draw(out);
        }
    }

    /// Selects a message, and appends its text to `out`.
    pub(crate) fn print(&mut self, publish: &PublishRef<'_>, out: &mut Vec<u8>) -> Disposition {
        let printing = &self.printing;
        // A broker sends the retained messages first after a subscription, so the first message without RETAIN shows
        // that all of them have arrived.
        if printing.retained_only && !publish.retain {
            return Disposition::EndOfRetained;
        }
        if printing.is_snapshot && !publish.retain {
            return Disposition::Dropped;
        }
        let topic_name = publish.topic_name;
        // In spite of -R a broker may send retained messages: MQTT before 5.0 has no option to leave them out.
        if publish.retain && printing.no_retained
            || printing
                .filter_out
                .iter()
                .any(|filter| filter.matches(topic_name))
        {
            return Disposition::Dropped;
        }
        if let Some(selection) = &mut self.selection {
            match selection.select(publish, Instant::now()) {
                Selected::Withhold => return Disposition::Dropped,
                Selected::PrintWithWarning if !printing.quiet => warn(FULL),
                Selected::Print | Selected::PrintWithWarning => {}
            }
        }
        self.take(publish, None, out);
        Disposition::Taken
    }

    /// Ends the comparison of `--diff`. Returns `true` if there was a difference.
    pub(crate) fn finish_diff(&mut self, out: &mut Vec<u8>) -> bool {
        let style = self.printing.style;
        let diff = self.printing.diff.as_mut();
        diff.is_some_and(|diff| diff.finish(style, out))
    }

    /// Prints the next message for which the period of `--every` has ended, and returns it.
    pub(crate) fn print_due(&mut self, now: Instant, out: &mut Vec<u8>) -> Option<Waiting> {
        let waiting = self.selection.as_mut()?.take_due(now)?;
        self.take(&waiting.publish(), Some(waiting.arrival), out);
        Some(waiting)
    }

    /// Prints the next message that waits for the end of its period, and returns it. The program calls this function at
    /// its end.
    pub(crate) fn print_waiting(&mut self, out: &mut Vec<u8>) -> Option<Waiting> {
        let waiting = self.selection.as_mut()?.take_any()?;
        self.take(&waiting.publish(), Some(waiting.arrival), out);
        Some(waiting)
    }

    /// Returns `true` if a message waits for the end of its period.
    pub(crate) fn has_waiting(&self) -> bool {
        let selection = self.selection.as_ref();
        selection.is_some_and(|selection| selection.has_waiting())
    }

    /// Returns the time at which `print_due` must be called.
    pub(crate) fn period_end(&self) -> Option<Instant> {
        self.selection.as_ref()?.deadline()
    }

    /// Counts a message that no filter rejects, and appends its text to `out`. `arrival` is `None` if the message has
    /// just arrived.
    fn take(&mut self, publish: &PublishRef<'_>, arrival: Option<Timestamp>, out: &mut Vec<u8>) {
        let printing = &mut self.printing;
        if let Some(diff) = &mut printing.diff {
            self.count += 1;
            return diff.add(publish, printing.style, out);
        }
        // An empty message with RETAIN is itself a removal. With --retain-as-published the broker sends it back to
        // rsub, and it must not cause another removal.
        if publish.retain && printing.remove_retained && !publish.payload.is_empty() {
            // The decoder has checked the topic name, so this conversion does not fail.
            self.to_remove.extend(TopicName::new(publish.topic_name));
        }
        self.count += 1;
        if printing.message_rate {
            self.rate.messages += 1;
        } else if !printing.is_silent
            && printing
                .chance
                .is_none_or(|chance| self.random.f64() * 100.0 < chance)
        {
            self.show(publish, arrival, out);
        }
    }

    /// Returns `true` if the rate is printed instead of the messages.
    pub(crate) fn has_rate(&self) -> bool {
        self.printing.message_rate
    }

    /// Returns the time at which `tick` must be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.rate.next
    }

    /// Prints the rate if a second has passed. The first call starts the first second.
    pub(crate) fn tick(&mut self, now: Instant, out: &mut Vec<u8>) {
        if !self.printing.message_rate {
            return;
        }
        match self.rate.next {
            Some(next) if now < next => {}
            Some(next) => {
                let messages = std::mem::take(&mut self.rate.messages);
                out.extend_from_slice(format!("{messages} msgs/s\n").as_bytes());
                // If the process was stopped for some seconds, the missed seconds are not printed.
                self.rate.next = Some((next + Duration::from_secs(1)).max(now));
            }
            None => self.rate.next = Some(now + Duration::from_secs(1)),
        }
    }

    /// Prints a message, or updates its row with `--watch`.
    fn show(&mut self, publish: &PublishRef<'_>, arrival: Option<Timestamp>, out: &mut Vec<u8>) {
        // `format` borrows the rest of the printer, so the screen is moved out of the printer for this call.
        let Some(mut watch) = self.watch.take() else {
            return self.format(publish, arrival, out);
        };
        let mut text = Vec::new();
        self.format(publish, arrival, &mut text);
        watch.show(publish.topic_name, &text, watch::terminal_rows(), out);
        self.watch = Some(watch);
    }

    /// Appends a message in the form that the options select.
    fn format(&self, publish: &PublishRef<'_>, arrival: Option<Timestamp>, out: &mut Vec<u8>) {
        let printing = &self.printing;
        let empty = publish.payload.is_empty();
        // With NUL as the end of each message, the reader can see an empty payload, so no `(null)` is printed for it.
        let is_exact = printing.end == Some(0);
        if printing.jsonl {
            let time = arrival.unwrap_or_else(Timestamp::now);
            jsonl::write(publish, time, printing.style.terminal, out);
        } else if let Some(format) = &printing.format {
            for unprintable in format.write(publish, arrival, printing.style, out) {
                if !printing.quiet {
                    report(&unprintable, publish.topic_name);
                }
            }
        } else if empty && !is_exact && !(printing.verbose && printing.end.is_some()) {
            // mosquitto_sub prints an empty payload as "(null)", and only with -v and without -N.
            return;
        } else {
            if printing.verbose {
                visible(publish.topic_name.as_bytes(), printing.style, out);
                out.push(b' ');
            }
            // Without `-0`, this line is reached with an empty payload only if -v is set and -N is not.
            let payload = if empty && !is_exact {
                b"(null)"
            } else {
                publish.payload
            };
            visible(payload, printing.style, out);
        }
        out.extend(printing.end);
    }
}

/// Prints why a field of the format is missing, with mosquitto's words.
fn report(unprintable: &Unprintable, topic_name: &str) {
    let topic = Printable(topic_name);
    complain(&match unprintable {
        Unprintable::Json => format!("Message payload is not valid JSON on topic {topic}."),
        Unprintable::Float => {
            format!("requested float printing, but non-float data received on topic {topic}.")
        }
        Unprintable::Double => {
            format!("requested double printing, but non-double data received on topic {topic}.")
        }
    });
}
