//! The times of rsub and rrr: the ends of periods of `--every`, the silence of `--expect`, and the times that end the
//! program.

use std::time::Instant;

use crate::commands::handlers::Jobs;
use crate::commands::silence::Watchdog;
use crate::exit_status::Status;

use super::event_handler::EventHandler;
use super::request::Request;

impl EventHandler {
    /// Prints the messages for which the period of `--every` has ended, or all that wait if the work is done.
    pub(super) fn print_waiting(&mut self) {
        while self.waits() && !self.is_full() {
            let text = &mut self.ack_queue.text;
            let printed = match &self.ending {
                None => self.printer.print_due(Instant::now(), text),
                Some(Ok(_)) => self.printer.print_waiting(text),
                // Without handlers, `print_rest` prints the messages that wait after the loop. With handlers they are
                // printed here, because their handlers must run before the loop ends.
                Some(Err(_)) if self.jobs.is_none() => return,
                Some(Err(_)) => self.printer.print_waiting(text),
            };
            let Some(waiting) = printed else {
                return;
            };
            if let Some(jobs) = &mut self.jobs {
                jobs.push_acknowledged(&waiting.publish(), waiting.arrival);
            }
            self.removals.extend(self.printer.to_remove.drain(..));
            self.check_count();
        }
    }

    /// Prints the messages that wait, because the program ends.
    pub(super) fn print_rest(&mut self) {
        // Handlers get these messages from `print_waiting` and `stop_jobs`.
        while self.jobs.is_none() && self.waits() && !self.is_full() {
            self.printer.print_waiting(&mut self.ack_queue.text);
        }
    }

    /// Returns `true` if a message waits for the end of its period. The messages that wait when the number of `-C` is
    /// reached are not printed.
    pub(super) fn waits(&self) -> bool {
        self.printer.has_waiting() && !self.has_all()
    }

    /// Ends the program if no message has come for the time of `--idle`.
    pub(super) fn check_idle(&mut self) {
        let is_over = |time: Instant| Instant::now() >= time;
        if self.idle_deadline().is_some_and(is_over) {
            self.ending.get_or_insert(Ok(Status::Success));
        }
    }

    /// Handles the topic filters for which no message has come for the time of `--expect`.
    pub(super) fn check_silence(&mut self, is_connected: bool) {
        let is_full = self.is_full();
        let Some(watchdog) = self.watchdog.as_mut().filter(|_| self.ending.is_none()) else {
            return;
        };
        let now = Instant::now();
        // The loop does not read now, and messages may wait in the socket.
        if is_connected && is_full {
            watchdog.postpone(now);
        }
        match watchdog.advance(now, &self.plan.client.diagnostics) {
            Ok(None) => {}
            Ok(Some(line)) => {
                self.ack_queue.text.extend_from_slice(line.as_bytes());
                self.ack_queue.text.push(b'\n');
                self.ending = Some(Ok(Status::Success));
            }
            Err(failure) => self.ending = Some(Err(failure)),
        }
    }

    /// Ends rrr if the time of `--gather-for` is over.
    pub(super) fn check_gathering(&mut self) {
        let request = self.plan.request.as_ref();
        let is_over = |end| Instant::now() >= end;
        if request.and_then(Request::deadline).is_some_and(is_over) {
            self.finish();
        }
    }

    /// Returns the time at which `--idle` ends the program. A snapshot has its own end.
    fn idle_deadline(&self) -> Option<Instant> {
        if self.barrier.is_some() {
            return None;
        }
        let since = self.idle_since.filter(|_| self.ending.is_none());
        Some(since? + self.plan.idle?)
    }

    /// Returns the first deadline of the program itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let jobs = self.jobs.as_ref().and_then(Jobs::deadline);
        let request = self.plan.request.as_ref().and_then(Request::deadline);
        let times = [
            self.plan.client.deadline,
            self.printer.deadline(),
            jobs,
            self.idle_deadline(),
            self.snapshot_deadline(),
            self.watchdog
                .as_ref()
                .filter(|_| self.ending.is_none())
                .and_then(Watchdog::deadline),
            // While there is no room, the end of a write or of a handler wakes the loop.
            self.printer.period_end().filter(|_| !self.is_full()),
            // The end of the run has its own deadlines, and a deadline that has passed would make the loop spin.
            request.filter(|_| self.ending.is_none()),
        ];
        times.into_iter().flatten().min()
    }

    /// Returns `true` if the timeout of `-W` has passed.
    pub(super) fn is_too_late(&self) -> bool {
        self.plan.client.is_too_late()
    }
}
