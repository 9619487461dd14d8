//! The steps of `--snapshot`: sends the questions of the barrier (see `barrier.rs`), and ends the program when all
//! retained messages have come.

use std::time::{Duration, Instant};

use mqtt_client::EventLoop;
use mqtt_codec::{PublishRef, SubscribeProperties, TopicFilter};

use crate::commands::handlers::Jobs;
use crate::exit_status::Status;

use super::barrier::{Barrier, Step};
use super::event_handler::EventHandler;

/// The time of silence after which a snapshot ends if the broker is unknown and `--idle` sets no other time.
const SILENCE: Duration = Duration::from_secs(1);

/// The warning after a snapshot whose end is a guess.
const UNPROVEN: &str = "The broker is neither rbroker nor mosquitto 2, so the snapshot ended when no retained message \
                        had come for 1 s. It may be incomplete (--idle sets this time).";

impl EventHandler {
    /// Returns `true` if a SUBACK answers the subscription to the version of the broker, for `--snapshot`.
    pub(super) fn is_answer_about_version(&mut self) -> bool {
        let barrier = self.barrier.as_mut();
        barrier.is_some_and(Barrier::answer_subscription)
    }

    /// Returns `true` if an UNSUBACK answers a question of `--snapshot`.
    pub(super) fn is_answer_of_barrier(&mut self) -> bool {
        let barrier = self.barrier.as_mut();
        barrier.is_some_and(|barrier| barrier.answer(Instant::now()))
    }

    /// Asks the broker whether it has sent all retained messages, or ends the snapshot.
    pub(super) fn advance_snapshot(&mut self, event_loop: &mut EventLoop) {
        let Some(barrier) = &mut self.barrier else {
            return;
        };
        // A broker may send further messages only after the acknowledgements of those that are in flight.
        let can_ask = self.ending.is_none()
            && self.requests.are_answered()
            && self.ack_queue.is_empty()
            && self.jobs.as_ref().is_none_or(Jobs::is_finished);
        let Some(connection) = event_loop.connection().filter(|_| can_ask) else {
            return;
        };
        if connection.unfinished_received() > 0 {
            return;
        }
        match barrier.next() {
            Step::Wait => {}
            Step::Finish => self.finish_snapshot(),
            Step::FinishAfterSilence(last) => {
                let silence = self.plan.idle.unwrap_or(SILENCE);
                if last + silence > Instant::now() {
                    return;
                }
                self.finish_snapshot();
                if self.plan.idle.is_none() {
                    self.diagnostics().warn(UNPROVEN);
                }
            }
            Step::Ask => {
                if let Some(subscription) = barrier.version_subscription(&self.plan.subscriptions) {
                    let properties = SubscribeProperties::default();
                    let sent = connection.subscribe(Instant::now(), vec![subscription], properties);
                    if let Err(error) = sent {
                        return self.fail(error);
                    }
                }
                let filters = TopicFilter::new(Barrier::TOPIC_FILTER)
                    .into_iter()
                    .collect();
                let properties = self.plan.unsubscribe_properties.clone();
                match connection.unsubscribe(Instant::now(), filters, properties) {
                    Ok(_) => barrier.ask(),
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// Ends the program after all retained messages have come.
    fn finish_snapshot(&mut self) {
        let is_different = self.printer.finish_diff(&mut self.ack_queue.text);
        self.ending = Some(Ok(if is_different {
            Status::Different
        } else {
            Status::Success
        }));
    }

    /// Returns the time at which a snapshot of an unknown broker ends. Returns `None` if this time has passed: a
    /// snapshot that has not ended then waits for an acknowledgement.
    pub(super) fn snapshot_deadline(&self) -> Option<Instant> {
        let time = match self.barrier.as_ref()?.next() {
            Step::FinishAfterSilence(last) => last + self.plan.idle.unwrap_or(SILENCE),
            Step::Wait | Step::Ask | Step::Finish => return None,
        };
        Some(time).filter(|time| *time > Instant::now())
    }

    /// Records a retained message. Returns `true` if it is the version of the broker and the user has not subscribed to
    /// it.
    pub(super) fn is_only_for_barrier(&mut self, publish: &PublishRef<'_>) -> bool {
        let (Some(barrier), true) = (&mut self.barrier, publish.retain) else {
            return false;
        };
        if publish.topic_name == Barrier::VERSION {
            barrier.set_version(publish.payload);
            if !Barrier::is_version_wanted(&self.plan.subscriptions) {
                return true;
            }
        }
        barrier.add_message(Instant::now());
        false
    }
}
