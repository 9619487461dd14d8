//! [`Queue`]: the messages that wait for a client, and what is known of them without looking through them.

use std::collections::VecDeque;
use std::time::Instant;

use mqtt_session::Outgoing;

use crate::Limits;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    /// Tells the messages of a client apart, in their order.
    pub(crate) number: u64,
    pub(crate) outgoing: Outgoing,
}

/// Messages that wait for room in the window, or for the client. Most clients never have one.
#[derive(Debug, Default)]
pub(crate) struct Queue(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<Queued>,
    /// How many of them are retained messages.
    retained: usize,
    /// The bytes of their payloads.
    bytes: usize,
    /// When the first of them expires, or earlier: before that the queue is not looked through.
    first_expiry: Option<Instant>,
    /// Whether the loss of messages was told since the queue was last found empty.
    overflow_told: bool,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    /// The bytes of the payloads.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    pub(crate) fn has_retained(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.retained > 0)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| &waiting.messages)
    }

    /// Whether no further message may wait.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.len() >= limits.maximum_queued || self.bytes() >= limits.maximum_queued_bytes
    }

    /// Whether more than half of what may wait is waiting.
    pub(crate) fn is_crowded(&self, limits: &Limits) -> bool {
        self.len() > limits.maximum_queued / 2 || self.bytes() > limits.maximum_queued_bytes / 2
    }

    /// A message waits behind the others.
    pub(crate) fn push(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.count(&queued.outgoing);
        let expiries = waiting.first_expiry.into_iter();
        waiting.first_expiry = expiries.chain(queued.outgoing.expires).min();
        waiting.messages.push_back(queued);
    }

    /// Takes the first one out.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let queued = waiting.messages.pop_front()?;
        waiting.retained -= usize::from(queued.outgoing.retain);
        waiting.bytes -= queued.outgoing.message.payload.len();
        Some(queued)
    }

    /// What was taken out has to wait all the same, in its place.
    pub(crate) fn put_back(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.count(&queued.outgoing);
        waiting.messages.push_front(queued);
    }

    /// Takes those out that have expired, and gives their numbers.
    pub(crate) fn drop_expired(&mut self, now: Instant) -> Vec<u64> {
        let mut gone = Vec::new();
        let is_due = |waiting: &&mut Box<Waiting>| {
            let first = waiting.first_expiry;
            first.is_some_and(|expires| expires <= now)
        };
        let Some(waiting) = self.0.as_mut().filter(is_due) else {
            return gone;
        };
        for queued in std::mem::take(&mut waiting.messages) {
            match queued.outgoing.has_expired(now) {
                true => gone.push(queued.number),
                false => waiting.messages.push_back(queued),
            }
        }
        (waiting.retained, waiting.bytes) = (0, 0);
        waiting.first_expiry = None;
        for queued in std::mem::take(&mut waiting.messages) {
            self.push(queued);
        }
        gone
    }

    /// A message is lost; says whether that has to be told.
    pub(crate) fn overflows(&mut self) -> bool {
        let waiting = self.0.get_or_insert_default();
        !std::mem::replace(&mut waiting.overflow_told, true)
    }

    /// The loss of messages is told anew if none waits now.
    pub(crate) fn is_over(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.overflow_told &= !waiting.messages.is_empty();
        }
    }
}

impl Waiting {
    fn count(&mut self, outgoing: &Outgoing) {
        self.retained += usize::from(outgoing.retain);
        self.bytes += outgoing.message.payload.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mqtt_codec::{Message, QoS, TopicName};
    use std::sync::Arc;
    use std::time::Duration;

    fn queued(number: u64, payload: &'static str, expires: Option<Instant>) -> Queued {
        let message = Message::new(TopicName::new("t").unwrap(), payload);
        let mut outgoing = Outgoing::new(Arc::new(message), QoS::AtLeastOnce);
        outgoing.retain = payload.is_empty();
        outgoing.expires = expires;
        Queued { number, outgoing }
    }

    #[test]
    fn what_is_known_of_the_messages_follows_them() {
        let mut queue = Queue::default();
        let limits = Limits {
            maximum_queued: 3,
            maximum_queued_bytes: 6,
            ..Limits::default()
        };
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        assert!(queue.pop().is_none());
        queue.push(queued(1, "two", None));
        queue.push(queued(2, "", None));
        assert_eq!((queue.len(), queue.bytes()), (2, 3));
        assert!(queue.has_retained() && queue.is_crowded(&limits) && !queue.is_full(&limits));
        let first = queue.pop().unwrap();
        assert_eq!((first.number, queue.bytes()), (1, 0));
        queue.put_back(first);
        queue.push(queued(3, "abc", None));
        assert!(queue.is_full(&limits), "of messages and of bytes");
        let numbers: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|queued| queued.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(!queue.has_retained() && queue.bytes() == 0);
    }

    #[test]
    fn those_that_have_expired_make_room() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.push(queued(1, "one", Some(soon)));
        queue.push(queued(2, "to", Some(soon + Duration::from_secs(1))));
        queue.push(queued(3, "", None));
        assert!(queue.drop_expired(now).is_empty());
        assert_eq!(queue.drop_expired(soon), [1]);
        assert_eq!((queue.len(), queue.bytes()), (2, 2));
        assert_eq!(queue.drop_expired(soon + Duration::from_secs(1)), [2]);
        assert!(queue.has_retained());
    }

    #[test]
    fn a_loss_is_told_once_until_the_queue_is_empty() {
        let mut queue = Queue::default();
        queue.push(queued(1, "a", None));
        assert!(queue.overflows() && !queue.overflows());
        queue.is_over();
        assert!(!queue.overflows(), "one waits still");
        queue.pop();
        queue.is_over();
        assert!(queue.overflows());
    }
}
