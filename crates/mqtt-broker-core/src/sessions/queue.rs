//! [`Queue`]: the messages that wait for a client, with their number, their memory and their first expiry.
//!
//! The totals are updated with each message, because the limits are checked for each delivery and a queue may have
//! thousands of messages.

use std::time::Instant;

use mqtt_session::OutboundMessage;

use crate::footprint;
use crate::limits::Limits;
use crate::sessions::block_queue::BlockQueue;

/// A message that waits in a queue.
#[derive(Debug)]
pub(crate) struct Queued {
    /// The number of the message among those of the client. Later messages have higher numbers.
    pub(crate) number: u64,
    pub(crate) outgoing: OutboundMessage,
    /// Set if a later message of QoS 0 must not overtake this message, because this message has QoS 0 too, or may wait
    /// for a replay of retained messages.
    pub(crate) blocks_qos_0: bool,
}

impl Queued {
    /// Returns the bytes of memory that the message takes in the queue. A message in many queues is in memory once, but
    /// counts for each queue: any of these clients may be the last one that keeps the message in memory.
    fn footprint(&self) -> usize {
        footprint::of_outgoing(&self.outgoing) + size_of::<Self>()
    }
}

/// The queue of one client. Its content is boxed, because most clients never have a message that waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    messages: BlockQueue<Queued>,
    /// The number of messages with `blocks_qos_0` set.
    blocking: usize,
    /// The memory that the messages take, in bytes.
    bytes: usize,
    /// The first expiry of the messages, or an earlier time. No message has expired before this time, so the queue is
    /// not searched.
    first_expiry: Option<Instant>,
    /// Set when a warning about dropped messages was logged, and cleared when the queue is empty.
    is_overflow_logged: bool,
}

impl Queue {
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.messages.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory that the messages take, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes)
    }

    /// Returns the number of messages, and their memory in bytes.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.len(), self.bytes())
    }

    /// Returns `true` if a new message of QoS 0 must be added to this queue instead of being sent immediately.
    pub(crate) fn blocks_qos_0(&self) -> bool {
        self.0.as_ref().is_some_and(|waiting| waiting.blocking > 0)
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.0.as_ref()?.messages.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Queued> {
        self.0.iter().flat_map(|waiting| waiting.messages.iter())
    }

    /// Returns `true` if the queue has reached its limit of messages or bytes.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.len() >= limits.maximum_queued || self.bytes() >= limits.maximum_queued_bytes
    }

    /// Returns `true` if more than half of the permitted messages or bytes wait.
    pub(crate) fn is_half_full(&self, limits: &Limits) -> bool {
        self.len() > limits.maximum_queued / 2 || self.bytes() > limits.maximum_queued_bytes / 2
    }

    /// Adds a message at the end.
    pub(crate) fn push(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.count(&queued);
        if let Some(expires) = queued.outgoing.expires() {
            let first = waiting.first_expiry.unwrap_or(expires);
            waiting.first_expiry = Some(first.min(expires));
        }
        waiting.messages.push_back(queued);
    }

    /// Removes and returns the first message.
    pub(crate) fn pop(&mut self) -> Option<Queued> {
        let waiting = self.0.as_mut()?;
        let queued = waiting.messages.pop_front()?;
        waiting.blocking -= usize::from(queued.blocks_qos_0);
        waiting.bytes -= queued.footprint();
        Some(queued)
    }

    /// Puts a message that `pop` has returned back to the front of the queue.
    pub(crate) fn put_back(&mut self, queued: Queued) {
        let waiting = self.0.get_or_insert_default();
        waiting.count(&queued);
        waiting.messages.push_front(queued);
    }

    /// Removes the expired messages, and returns their numbers.
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
            if queued.outgoing.has_expired(now) {
                gone.push(queued.number)
            } else {
                waiting.messages.push_back(queued)
            }
        }
        // `push` computes the totals and the first expiry anew.
        (waiting.blocking, waiting.bytes) = (0, 0);
        waiting.first_expiry = None;
        for queued in std::mem::take(&mut waiting.messages) {
            self.push(queued);
        }
        gone
    }

    /// Records that a message for this queue was dropped. Returns `true` if the caller must log a warning. The next
    /// warning is logged only after the queue was empty.
    pub(crate) fn note_overflow(&mut self) -> bool {
        let waiting = self.0.get_or_insert_default();
        !std::mem::replace(&mut waiting.is_overflow_logged, true)
    }

    /// Ends the overflow if the queue is empty, so that the next dropped message is logged again.
    pub(crate) fn allow_overflow_warning(&mut self) {
        if let Some(waiting) = &mut self.0 {
            waiting.is_overflow_logged &= !waiting.messages.is_empty();
        }
    }
}

impl Waiting {
    /// Adds a message to the totals.
    fn count(&mut self, queued: &Queued) {
        self.blocking += usize::from(queued.blocks_qos_0);
        self.bytes += queued.footprint();
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
        let outgoing = OutboundMessage::new(Arc::new(message), QoS::AtLeastOnce);
        Queued {
            number,
            outgoing: outgoing.with_expiry(expires),
            blocks_qos_0: payload.is_empty(),
        }
    }

    #[test]
    fn queue_entry_is_small() {
        assert!(size_of::<Queued>() <= 40);
    }

    /// Returns the memory that messages with these payloads take.
    fn bytes(payloads: &[&'static str]) -> usize {
        let queued = payloads.iter().map(|payload| queued(0, payload, None));
        queued.map(|queued| queued.footprint()).sum()
    }

    #[test]
    fn bookkeeping_of_the_queue_follows_its_messages() {
        let mut queue = Queue::default();
        let limits = Limits {
            maximum_queued: 3,
            maximum_queued_bytes: bytes(&["two", "", "abc"]),
            ..Limits::default()
        };
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        assert!(queue.pop().is_none());
        queue.push(queued(1, "two", None));
        queue.push(queued(2, "", None));
        assert_eq!(queue.totals(), (2, bytes(&["two", ""])));
        assert!(queue.blocks_qos_0() && queue.is_half_full(&limits) && !queue.is_full(&limits));
        let first = queue.pop().unwrap();
        assert_eq!((first.number, queue.bytes()), (1, bytes(&[""])));
        queue.put_back(first);
        queue.push(queued(3, "abc", None));
        assert!(queue.is_full(&limits), "of messages and of bytes");
        let numbers: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|queued| queued.number)
            .collect();
        assert_eq!(numbers, [1, 2, 3]);
        assert!(!queue.blocks_qos_0() && queue.bytes() == 0);
    }

    #[test]
    fn expired_messages_make_room_in_the_queue() {
        let now = Instant::now();
        let soon = now + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.push(queued(1, "one", Some(soon)));
        queue.push(queued(2, "to", Some(soon + Duration::from_secs(1))));
        queue.push(queued(3, "", None));
        assert!(queue.drop_expired(now).is_empty());
        assert_eq!(queue.drop_expired(soon), [1]);
        assert_eq!(queue.totals(), (2, bytes(&["to", ""])));
        assert_eq!(queue.drop_expired(soon + Duration::from_secs(1)), [2]);
        assert!(queue.blocks_qos_0());
    }

    #[test]
    fn overflow_is_noted_once_until_the_queue_is_empty() {
        let mut queue = Queue::default();
        queue.push(queued(1, "a", None));
        assert!(queue.note_overflow() && !queue.note_overflow());
        queue.allow_overflow_warning();
        assert!(!queue.note_overflow(), "one waits still");
        queue.pop();
        queue.allow_overflow_warning();
        assert!(queue.note_overflow());
    }
}
