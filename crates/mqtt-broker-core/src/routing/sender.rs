//! [`Sending`]: the steps that take the next messages of one client from its queue and its replays, while its window
//! and its output have room. `sending.rs` makes a `Sending` from the parts of the broker, and records the mutations
//! after the last step.

use std::time::Instant;

use mqtt_codec::{PacketIdentifier, QoS, TopicFilter, TopicName};
use mqtt_session::{Connection, Excerpt, OutboundMessage, PublishError};

use crate::auth::acl::AclAction;
use crate::auth::policy::ListenerPolicies;
use crate::limits::Limits;
use crate::log_lines::limiter::{LogEvent, LogLimiter};
use crate::log_lines::targets::EVENTS;
use crate::routing::permissions::{may_receive, without_mount_point};
use crate::sessions::client::{Client, Stored};
use crate::sessions::queue::Queued;
use crate::stats::drops::{DropReason, Drops};
use crate::topics::retained::{Found, Retained, RetainedMessages};

/// The parts of the broker that are borrowed to send the messages of one client.
pub(super) struct Sending<'a> {
    pub(super) now: Instant,
    pub(super) client: &'a mut Client,
    pub(super) connection: &'a mut Connection,
    pub(super) retained: &'a RetainedMessages,
    pub(super) policies: &'a ListenerPolicies,
    pub(super) limits: &'a Limits,
    pub(super) drops: &'a mut Drops,
    pub(super) log_limiter: &'a mut LogLimiter,
    /// Set if the broker records mutations.
    pub(super) is_recorded: bool,
    /// The number of steps that are left.
    pub(super) steps: usize,
    /// Set if a message was added to the output.
    pub(super) sent: bool,
    /// The mutations to record after the call, when the client is not borrowed any more.
    pub(super) notes: Vec<Note>,
}

/// A change that becomes a mutation after the call, if the client is stored.
pub(super) enum Note {
    /// A retained message was sent, or a queued message got a new number. The message must be stored until it is
    /// acknowledged.
    Queued(u64, OutboundMessage),
    /// The message with this number was dropped or got a new number.
    Finished(u64),
    /// The replay of this subscription has sent a message, and must not send it again after a restart.
    Replayed(TopicFilter),
    /// The replay of this subscription has ended, and its progress was recorded before.
    ReplayEnded(TopicFilter),
}

/// The result of one attempt to send.
#[derive(PartialEq, Eq)]
enum Step {
    /// A message was sent or skipped.
    Done,
    /// The source has no message that can be sent now.
    Blocked,
}

impl Sending<'_> {
    /// Sends messages until no source has one that can be sent, or the steps are spent.
    pub(super) fn run(&mut self) {
        // Nothing may be sent before CONNACK or after the end of the connection.
        if !self.connection.is_connected() {
            return;
        }
        while self.steps > 0 {
            let step = if self.client.retained_replays.is_empty() {
                self.send_queued()
            } else {
                self.send_either()
            };
            if step == Step::Blocked {
                return;
            }
            self.steps = self.steps.saturating_sub(1);
        }
    }

    /// Sends a message from the queue or from a replay, alternately. Without the alternation, a long replay would delay
    /// the queue, or a steady stream of queued messages would delay the replay.
    fn send_either(&mut self) -> Step {
        let first = if self.client.retained_replays.take_turn() {
            self.send_queued()
        } else {
            self.send_replayed()
        };
        if first == Step::Done {
            return first;
        }
        // The first source had no message that can be sent, so the other source has its turn.
        if self.client.retained_replays.take_turn() {
            self.send_queued()
        } else {
            self.send_replayed()
        }
    }

    /// Sends or drops the first message of the queue.
    fn send_queued(&mut self) -> Step {
        let Some(queued) = self.client.queue.pop() else {
            return Step::Blocked;
        };
        let Queued {
            number, outgoing, ..
        } = &queued;
        let number = *number;
        if outgoing.has_expired(self.now) {
            return self.drop_queued(number, DropReason::Expired); // [MQTT-3.3.2-5]
        }
        // The ACL may have changed while the message waited. The permissions at the time of sending apply.
        if !may_receive(self.policies, &self.client.principal, &outgoing.message) {
            return self.drop_queued(number, DropReason::NotAuthorized);
        }
        if !self.has_room(outgoing.qos) || self.waits_for_replay(&queued) {
            self.client.queue.put_back(queued);
            return Step::Blocked;
        }
        // If a message with a higher number was sent already, it was a retained message that has overtaken this one.
        let was_overtaken = number < self.client.next_to_send;
        let is_stored = self.is_recorded && self.client.stored == Stored::Session;
        let stored = (is_stored && was_overtaken && outgoing.qos > QoS::AtMostOnce)
            .then(|| queued.outgoing.clone());
        match self.connection.publish(self.now, queued.outgoing) {
            Ok(packet_identifier) => {
                let number = match stored {
                    None => number,
                    Some(outgoing) => self.renumber(number, outgoing),
                };
                self.note_sent(packet_identifier, number);
                Step::Done
            }
            Err(PublishError::Encode(error)) => {
                self.log_too_large(&error);
                self.drop_queued(number, DropReason::TooLarge)
            }
            Err(_) => {
                self.notes.push(Note::Finished(number));
                Step::Done
            }
        }
    }

    /// Sends the next retained message of the oldest replay. Messages that were queued before this replay began are
    /// sent first.
    fn send_replayed(&mut self) -> Step {
        let front = self.client.queue.front().map(|queued| queued.number);
        let Some(replay) = self.client.retained_replays.first_mut() else {
            return Step::Blocked;
        };
        if front.is_some_and(|front| front < replay.state.number) {
            return Step::Blocked;
        }
        // A subscription exists at least as long as its replay, so only a bug can make this lookup fail.
        let topic_filter = replay.topic_filter.clone();
        let Some(subscription) = self.client.subscriptions.get(&topic_filter).copied() else {
            return self.end_replay(&topic_filter);
        };
        if !self.has_room_for_any(subscription.options.qos) {
            return Step::Blocked;
        }
        while let Some(replay) = self.client.retained_replays.first_mut() {
            let after = replay.state.after.as_ref();
            let retained = match self
                .retained
                .next_match(&topic_filter, after, &mut self.steps)
            {
                Found::End => return self.end_replay(&topic_filter),
                Found::Stopped(topic_name) => {
                    replay.state.after = Some(topic_name);
                    return Step::Done;
                }
                Found::Match(retained) => retained,
            };
            let newest = replay.state.version;
            if self.is_for_replay(retained, newest) {
                let qos = if self.limits.upgrade_qos {
                    subscription.options.qos
                } else {
                    retained.qos.min(subscription.options.qos)
                };
                if !self.has_room(qos) {
                    return Step::Blocked;
                }
                // A retained message is sent for one subscription, and has only the identifier of this subscription.
                let identifiers = subscription.identifier.into_iter().collect();
                self.send_retained(&topic_filter, retained, qos, identifiers);
                return Step::Done;
            }
            // Skipped messages count as steps too, so that a replay of messages that the client may not read is
            // interrupted.
            self.pass(&retained.message.topic_name);
            if self.steps == 0 {
                break;
            }
        }
        Step::Done
    }

    /// Returns `true` if a replay sends this message to the client. `newest` is the version of the newest retained
    /// message at the time of the subscription.
    fn is_for_replay(&mut self, retained: &Retained, newest: u64) -> bool {
        let is_old = retained.expires.is_some_and(|expires| expires <= self.now);
        if retained.version > newest || is_old {
            return false; // already delivered live, or expired [MQTT-3.3.2-5]
        }
        let topic_name = &retained.message.topic_name;
        // With `check_retain_source` the publisher must still have the permission to publish to the topic.
        let source = retained.source.as_deref();
        let source = source.filter(|_| self.limits.check_retain_source);
        if source.is_some_and(|source| !self.policies.allow(source, topic_name, AclAction::Write)) {
            return false;
        }
        let may_read = self
            .policies
            .allow(&self.client.principal, topic_name, AclAction::Read);
        if !may_read {
            self.drops.count(DropReason::NotAuthorized);
        }
        may_read
    }

    /// Sends a retained message, and advances the replay past it.
    fn send_retained(
        &mut self,
        topic_filter: &TopicFilter,
        retained: &Retained,
        qos: QoS,
        subscription_identifiers: Vec<mqtt_codec::SubscriptionIdentifier>,
    ) {
        let mount_point = self
            .policies
            .of(self.client.principal.listener)
            .mount_point
            .as_deref();
        let Some(message) = without_mount_point(retained.message.clone(), mount_point) else {
            return self.pass(&retained.message.topic_name);
        };
        let outgoing = OutboundMessage {
            retain: true, // [MQTT-3.3.1-8]
            ..OutboundMessage::new(message, qos)
        };
        let outgoing = outgoing
            .with_subscriptions(subscription_identifiers, None)
            .with_expiry(retained.expires);
        let is_stored = self.is_recorded && self.client.stored == Stored::Session;
        let stored = (is_stored && qos > QoS::AtMostOnce).then(|| outgoing.clone());
        match self.connection.publish(self.now, outgoing) {
            Ok(packet_identifier) => {
                let number = self.client.next_number;
                if let Some(outgoing) = stored {
                    self.notes.push(Note::Queued(number, outgoing));
                    self.notes.push(Note::Replayed(topic_filter.clone()));
                }
                self.client.next_number += u64::from(packet_identifier.is_some());
                self.note_sent(packet_identifier, number);
            }
            Err(PublishError::Encode(error)) => {
                self.log_too_large(&error);
                self.drops.count(DropReason::TooLarge);
            }
            Err(_) => {}
        }
        self.pass(&retained.message.topic_name);
    }

    /// Advances the oldest replay past the message of this topic, which was sent or skipped.
    fn pass(&mut self, topic_name: &TopicName) {
        if let Some(replay) = self.client.retained_replays.first_mut() {
            replay.state.after = Some(topic_name.clone());
        }
    }

    /// Removes the replay of this subscription.
    fn end_replay(&mut self, topic_filter: &TopicFilter) -> Step {
        let ended = self.client.retained_replays.remove(topic_filter);
        if ended.is_some_and(|replay| replay.recorded.is_some()) {
            self.notes.push(Note::ReplayEnded(topic_filter.clone()));
        }
        Step::Done
    }

    /// Gives a message a new number if a retained message has overtaken it. After a restart the broker resends messages
    /// in the order of their numbers, which must be the order in which they were sent the first time (MQTT 5.0, 4.6).
    fn renumber(&mut self, number: u64, outgoing: OutboundMessage) -> u64 {
        // In the store this is a removal and an insertion. Both are in one commit, so a crash loses neither message.
        let later = self.client.next_number;
        self.client.next_number += 1;
        self.notes.push(Note::Finished(number));
        self.notes.push(Note::Queued(later, outgoing));
        later
    }

    /// Remembers the number of a message that was sent, by its packet identifier.
    fn note_sent(&mut self, packet_identifier: Option<PacketIdentifier>, number: u64) {
        self.sent = true;
        if let Some(packet_identifier) = packet_identifier.filter(|_| self.is_recorded) {
            self.client.next_to_send = self.client.next_to_send.max(number + 1);
            self.client.in_flight.insert(packet_identifier, number);
        }
    }

    /// Counts a message of the queue that is dropped, and removes it from the store.
    fn drop_queued(&mut self, number: u64, reason: DropReason) -> Step {
        self.drops.count(reason);
        self.notes.push(Note::Finished(number));
        Step::Done
    }

    /// Logs a message that exceeds the client's Maximum Packet Size. The broker then behaves as if the message was
    /// delivered [MQTT-3.1.2-25].
    fn log_too_large(&mut self, error: &mqtt_codec::EncodeError) {
        let name = &self.client.identifier;
        if self.log_limiter.admits(self.now, LogEvent::NotSent, name) {
            let name = Excerpt(name);
            log::warn!(target: EVENTS, "A message is not sent to client {name}: {error}.");
        }
    }

    /// Returns `true` if the output and, for QoS 1 and 2, the window have room for a message.
    fn has_room(&self, qos: QoS) -> bool {
        // The messages in the output delay everything that is added later, such as PINGRESP. So messages wait in the
        // queue, and not in the output.
        if self.connection.output().len() >= self.limits.maximum_unwritten {
            return false;
        }
        if qos == QoS::AtMostOnce {
            return true;
        }
        let maximum = self.limits.maximum_in_flight_bytes;
        self.connection.has_room()
            && (maximum == usize::MAX || self.connection.unfinished_sent_bytes() < maximum)
    }

    /// Returns `true` if there may be room for the next retained message of a subscription with this QoS. The QoS of
    /// the message may be lower, and QoS 0 needs no room in the window.
    fn has_room_for_any(&self, qos: QoS) -> bool {
        self.has_room(qos) || self.has_room(QoS::AtMostOnce)
    }

    /// Returns `true` if a queued message must wait until a replay has passed its topic.
    fn waits_for_replay(&self, queued: &Queued) -> bool {
        if self.client.retained_replays.is_empty() {
            return false;
        }
        let topic_name = &queued.outgoing.message.topic_name;
        let mount_point = self
            .policies
            .of(self.client.principal.listener)
            .mount_point
            .as_deref();
        // The retained messages have the mount point in their topic names, and the queued message does not.
        let mounted = mount_point.map(|mount_point| format!("{mount_point}{topic_name}"));
        let topic_name = mounted.as_deref().unwrap_or(topic_name);
        must_wait_for_replay(self.client, self.retained, queued.number, topic_name)
    }
}

/// Returns `true` if a message with this number must wait until a replay of the client has passed its topic. The topic
/// name includes the mount point.
#[inline]
pub(crate) fn must_wait_for_replay(
    client: &Client,
    retained: &RetainedMessages,
    number: u64,
    topic_name: &str,
) -> bool {
    // Usually the client has no replay, so the topic need not be looked up.
    if client.retained_replays.is_empty() {
        return false;
    }
    let older = retained.get(topic_name);
    older.is_some_and(|older| {
        client
            .retained_replays
            .must_wait(number, topic_name, older.version)
    })
}
