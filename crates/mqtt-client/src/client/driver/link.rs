//! [`Link`] is the trait through which the driver uses the event loop.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use mqtt_codec::{Disconnect, PacketIdentifier};
use mqtt_session::{Connection, Event, OutboundMessage, PublishError};

use crate::core::Rejected;
use crate::error::ClientError;
use crate::event_loop::{EventLoop, Wakeup};

/// Connection to a server that reconnects automatically. Its methods are those of [`EventLoop`]; the simulation in
/// the module `simulation` implements them without sockets.
pub(in crate::client) trait Link {
    fn poll(
        &mut self,
        deadline: Option<Instant>,
        handle: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Wakeup, ClientError>;
    fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError>;
    fn flush(&mut self);
    fn pause(&mut self);
    fn resume(&mut self);
    fn disconnect(&mut self, disconnect: Disconnect, timeout: Duration) -> Result<(), ClientError>;
    fn take_rejected(&mut self) -> Vec<Rejected>;
    fn connection(&mut self) -> Option<&mut Connection>;
    fn backlog(&self) -> Vec<OutboundMessage>;
    fn is_paused(&self) -> bool;
    fn has_hung_up(&self) -> bool;
    fn is_connected(&self) -> bool;
    fn unfinished(&self) -> usize;
    fn unwritten(&self) -> usize;
    fn written(&self) -> u64;
    fn end_of_output(&self) -> u64;
    /// Returns the server of the connection as text.
    fn server(&self) -> String;
}

impl Link for EventLoop {
    fn poll(
        &mut self,
        deadline: Option<Instant>,
        handle: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Wakeup, ClientError> {
        Self::poll(self, deadline, handle)
    }

    fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, PublishError> {
        Self::publish(self, outgoing)
    }

    fn flush(&mut self) {
        Self::flush(self);
    }

    fn pause(&mut self) {
        Self::pause(self);
    }

    fn resume(&mut self) {
        Self::resume(self);
    }

    fn disconnect(&mut self, disconnect: Disconnect, timeout: Duration) -> Result<(), ClientError> {
        Self::disconnect(self, disconnect, timeout)
    }

    fn take_rejected(&mut self) -> Vec<Rejected> {
        Self::take_rejected(self)
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        Self::connection(self)
    }

    fn backlog(&self) -> Vec<OutboundMessage> {
        Self::backlog(self).cloned().collect()
    }

    fn is_paused(&self) -> bool {
        Self::is_paused(self)
    }

    fn has_hung_up(&self) -> bool {
        Self::has_hung_up(self)
    }

    fn is_connected(&self) -> bool {
        Self::is_connected(self)
    }

    fn unfinished(&self) -> usize {
        Self::unfinished(self)
    }

    fn unwritten(&self) -> usize {
        Self::unwritten(self)
    }

    fn written(&self) -> u64 {
        Self::written(self)
    }

    fn end_of_output(&self) -> u64 {
        Self::end_of_output(self)
    }

    fn server(&self) -> String {
        Self::server(self)
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}
