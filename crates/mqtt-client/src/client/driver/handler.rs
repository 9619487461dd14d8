//! [`Handler`] handles each event of the event loop for the driver.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mqtt_codec::{Connack, PublishRef};
use mqtt_session::{Connection, Event};

use crate::client::in_flight::InFlight;
use crate::client::inbound::{Inbound, InboundMessage};
use crate::client::inbox::Room;
use crate::client::shared::Shared;
use crate::client::subscriptions::Subscriptions;

/// Part of the driver that handles events during one call of `turn`.
#[derive(Debug)]
pub(super) struct Handler {
    shared: Arc<Shared>,
    pub(super) in_flight: InFlight,
    pub(super) inbound: Inbound,
    pub(super) subscriptions: Subscriptions,
    /// Messages that have arrived in this turn.
    pub(super) arrived: Vec<InboundMessage>,
    /// Room that is left in the inbox. `None` until the first message of this turn.
    pub(super) room: Option<Room>,
    /// CONNACK, if it has arrived in this turn.
    pub(super) connack: Option<Box<Connack>>,
    /// Set when a request or a message has got its result, so that its caller must be woken.
    pub(super) has_results: bool,
    /// Set when the application has ended the client.
    pub(super) is_closing: bool,
    /// Set while messages are accepted even if the inbox has no room for them.
    pub(super) takes_rest: bool,
}

impl Handler {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            in_flight: InFlight::default(),
            inbound: Inbound::default(),
            subscriptions: Subscriptions::default(),
            arrived: Vec::new(),
            room: None,
            connack: None,
            has_results: false,
            is_closing: false,
            takes_rest: false,
        }
    }

    /// Handles one event of the event loop. Returns `Break` if the client must stop reading, because the inbox has no
    /// room.
    pub(super) fn handle(
        &mut self,
        connection: &mut Connection,
        event: Event<'_>,
    ) -> ControlFlow<()> {
        match event {
            Event::Message(message) => {
                return self.handle_message(connection, &message.publish());
            }
            Event::Delivered {
                packet_identifier,
                reason_code,
                reason_string,
            } => {
                let failures = &self.shared.failures;
                let in_flight = &mut self.in_flight;
                in_flight.handle_delivered(packet_identifier, reason_code, reason_string, failures);
            }
            Event::Connected { connack, .. } => {
                self.inbound.handle_connected(connack.session_present);
                let subscriptions = &mut self.subscriptions;
                let events = &self.shared.events;
                subscriptions.handle_connected(connection, connack.session_present, events);
                self.connack = Some(connack);
            }
            Event::Subscribed(suback) => {
                let events = &self.shared.events;
                self.has_results |= self.subscriptions.handle_subscribed(suback, events);
            }
            Event::Unsubscribed(unsuback) => {
                self.has_results |= self.subscriptions.handle_unsubscribed(unsuback);
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }

    fn handle_message(
        &mut self,
        connection: &mut Connection,
        publish: &PublishRef<'_>,
    ) -> ControlFlow<()> {
        let mut room = match self.room {
            Some(room) => room,
            // The inbox is locked once in each turn. Readers can only increase the room in the meantime.
            None => self.shared.inbox.room(),
        };
        if self.is_closing || room.is_empty() && !room.has_reader {
            // The client ends soon, or no reader will make room, so the message is discarded. The server keeps a
            // message of QoS 1 or 2, because it is not acknowledged.
            let discarded = &self.shared.failures.counters.discarded;
            discarded.fetch_add(1, Ordering::Relaxed);
            return ControlFlow::Continue(());
        }
        if let Some(message) = self.inbound.handle_message(connection, publish) {
            room.take(&message);
            self.arrived.push(message);
        }
        self.room = Some(room);
        if room.is_empty() && room.has_reader && !self.takes_rest {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
