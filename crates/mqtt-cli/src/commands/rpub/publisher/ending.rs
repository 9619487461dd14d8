//! The end of rpub: disconnects, counts the messages by their outcome, and chooses the exit status.

use std::sync::PoisonError;
use std::time::Duration;

use mqtt_client::ClientError;

use crate::commands::deadline;
use crate::commands::rpub::report;
use crate::commands::verdict::{Messages, Published};
use crate::exit_status::{Class, Status};
use crate::failure::Failure;
use crate::flags::settings::message::Content;

use super::Publisher;

/// The time in which the last bytes and DISCONNECT must be sent.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Replaces [`DISCONNECT_TIMEOUT`] after a signal.
const INTERRUPTED_TIMEOUT: Duration = Duration::from_secs(1);

impl Publisher {
    /// Disconnects, and reports the messages that the broker may not have received.
    pub(super) fn end(mut self) -> Result<Status, Failure> {
        self.progress.finish();
        // These numbers are read before `disconnect`, which resets them.
        let published = self.published();
        self.record(published);
        let unfinished = self.unfinished();
        let unwritten = self.event_loop.unwritten();
        let disconnect = self.plan.client.disconnect.clone();
        let timeout = |timeout| self.plan.client.at_most(timeout);
        let result = match self.interrupted {
            // A signal kills mosquitto_pub without DISCONNECT, so the broker publishes its will. Users may rely on the
            // will.
            Some(_) => self
                .event_loop
                .disconnect_with_will(disconnect, timeout(INTERRUPTED_TIMEOUT)),
            None => self
                .event_loop
                .disconnect(disconnect, timeout(DISCONNECT_TIMEOUT)),
        };
        // If DISCONNECT could not be sent, the bytes before it were not sent either. With QoS 0 only these bytes show
        // the loss.
        let lost = if result.is_err() { unwritten } else { 0 };
        if let Some(interrupted) = self.interrupted {
            let plan = &self.plan;
            report::interrupted(plan, published, lost);
            if !interrupted.all_was_taken || unfinished > 0 || lost > 0 {
                return Ok(interrupted.status);
            }
        }
        report::rejected(&self.plan, published);
        // The failure of a message is more useful than a failure of the disconnect.
        if let Some(failure) = self.failure {
            return Err(graded(failure, published));
        }
        match result {
            Ok(()) => Ok(Status::Success),
            Err(_) if self.plan.client.is_too_late() => Err(deadline::failure()),
            Err(error) => Err(self.plan.client.diagnostics.failure(error)),
        }
    }

    /// Ends the program because of `-W`. Not every message is acknowledged, so the broker publishes the will, as after
    /// a signal.
    pub(super) fn timed_out(mut self) -> Failure {
        let failure = self.with_unfinished(deadline::failure());
        let disconnect = self.plan.client.disconnect.clone();
        // The bytes that are left may not be sent in this short time. The error is ignored, because the failure already
        // says that the time is over.
        let _ = self
            .event_loop
            .disconnect_with_will(disconnect, deadline::GRACE);
        failure.quiet_if(self.plan.client.diagnostics.is_quiet())
    }

    /// Returns the number of messages that the broker may not have received.
    fn unfinished(&self) -> usize {
        self.event_loop.unfinished() + usize::from(self.held.is_some())
    }

    /// Returns the failure after the client has given up connecting.
    pub(super) fn given_up(&self, error: ClientError) -> Failure {
        self.with_unfinished(self.plan.client.diagnostics.failure(error))
    }

    /// Adds the number of unacknowledged messages to a failure.
    pub(super) fn with_unfinished(&self, failure: Failure) -> Failure {
        self.progress.finish();
        let published = self.published();
        self.record(published);
        // Without a connection nothing was sent. The failure already says so, and a hint with zeros would add nothing.
        let has_started = self.progress.published > 0;
        if has_started && !published.is_complete() {
            graded(failure.with_hint(format!("{published}.")), published)
        } else {
            failure
        }
    }

    /// Returns the number of messages for each outcome.
    fn published(&self) -> Published {
        let progress = &self.progress;
        let repetitions = match self.plan.content {
            Content::Payload(_) => self.left,
            Content::Lines(_) => 0,
        };
        let not_sent = repetitions + u64::from(self.held.is_some()) + self.dropped;
        let unknown = self.event_loop.unfinished() as u64;
        let sent = progress.without_acknowledgement;
        let rejected = progress.rejected;
        // A message that is neither in flight nor rejected counts as acknowledged, even without PUBACK or PUBCOMP. If
        // the broker loses the session after PUBREC, it has received the message and will never send PUBCOMP.
        let others = unknown + sent + rejected;
        Published {
            total: progress.published + not_sent,
            acknowledged: progress.published.saturating_sub(others),
            unknown,
            rejected,
            invalid: self.invalid,
            not_sent,
            sent,
        }
    }

    /// Fills in the verdict. Every way to end the loop must call this function.
    fn record(&self, published: Published) {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        verdict.server = Some(self.plan.client.diagnostics.server().to_owned());
        verdict.messages = Some(Messages::Published(published));
        if matches!(self.plan.content, Content::Lines(_)) {
            verdict.failed_lines = self.line_numbers.first_failed();
        }
    }
}

/// Sets the class `Temporary` if the broker has acknowledged some of the messages but not all.
fn graded(failure: Failure, published: Published) -> Failure {
    // `Temporary` tells a script to try again. With invalid input another attempt would fail, too.
    if published.is_partial() && failure.class() != Class::Data {
        failure.with_class(Class::Temporary)
    } else {
        failure
    }
}
