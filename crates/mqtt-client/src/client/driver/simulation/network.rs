//! [`SimulatedLink`] connects the core of the client with the core of a broker, over a network that can be cut.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use mqtt_broker_core::{Broker, ConnectionId, Limits, ListenerPolicy};
use mqtt_codec::{Disconnect, PacketIdentifier, QoS};
use mqtt_session::{Connection, Event, OutboundMessage};

use crate::client::driver::link::Link;
use crate::core::{ClientCore, Rejected};
use crate::error::ClientError;
use crate::event_loop::Wakeup;

/// The two ends of the network, and the faults.
pub(super) struct Network {
    pub(super) random: fastrand::Rng,
    pub(super) broker: Broker,
    pub(super) connection: Option<ConnectionId>,
    pub(super) to_broker: VecDeque<u8>,
    pub(super) to_client: VecDeque<u8>,
    /// Set while connections are cut.
    pub(super) has_faults: bool,
    pub(super) restarts: Restarts,
    pub(super) cuts: usize,
    /// Set if the driver would wait now, and no byte is on its way.
    pub(super) is_asleep: bool,
}

/// Effect of a cut on the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restarts {
    /// The broker continues.
    Never,
    /// The broker may restart, and then has forgotten all sessions.
    Forgetful,
    /// The broker may restart as with [`Self::Forgetful`], and then announces other limits in CONNACK.
    WithOtherLimits,
}

impl Network {
    pub(super) fn new(seed: u64, restarts: Restarts) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            broker: broker(default_limits(), ListenerPolicy::everyone()),
            connection: None,
            to_broker: VecDeque::new(),
            to_client: VecDeque::new(),
            has_faults: true,
            restarts,
            cuts: 0,
            is_asleep: false,
        }
    }

    /// Passes at least half of the waiting bytes to the broker, and takes its output.
    fn run_broker(&mut self, now: Instant) {
        let Some(id) = self.connection else { return };
        let arrived = self.to_broker.len() - self.random.usize(0..=self.to_broker.len() / 2);
        let bytes: Vec<_> = self.to_broker.iter().take(arrived).copied().collect();
        let mut rest = &bytes[..];
        self.broker.handle_input(now, id, &mut rest);
        let handled = bytes.len() - rest.len();
        self.to_broker.drain(..handled);
        self.broker.run_background(now);
        let output = self.broker.output(id).to_vec();
        self.broker.consume_output(now, id, output.len());
        self.to_client.extend(output);
    }

    fn cut(&mut self, now: Instant) {
        self.cuts += 1;
        self.to_broker.clear();
        self.to_client.clear();
        if let Some(id) = self.connection.take() {
            self.broker.handle_close(now, id);
            self.broker.remove(now, id);
        }
        if self.restarts != Restarts::Never && self.random.u8(0..3) == 0 {
            self.restart();
        }
    }

    fn restart(&mut self) {
        let (mut limits, mut policy) = (default_limits(), ListenerPolicy::everyone());
        if self.restarts == Restarts::WithOtherLimits {
            limits.retain_available = self.random.bool();
            if self.random.bool() {
                limits.maximum_packet_size = SMALL_PACKET_SIZE;
            }
            policy.limits.maximum_qos = QoS::from_value(self.random.u8(0..3));
        }
        self.broker = broker(limits, policy);
    }
}

/// Maximum Packet Size of some brokers. All packets of the client fit, except the larger messages.
pub(super) const SMALL_PACKET_SIZE: u32 = 100;

fn default_limits() -> Limits {
    Limits {
        maximum_queued: usize::MAX,
        maximum_in_flight: 20,
        ..Limits::default()
    }
}

fn broker(limits: Limits, policy: ListenerPolicy) -> Broker {
    let mut broker = Broker::new(limits, Box::new(|| 7));
    broker.set_policies(vec![policy]);
    broker
}

/// The client's end of the network.
pub(super) struct SimulatedLink {
    pub(super) core: ClientCore,
    pub(super) network: Rc<RefCell<Network>>,
    pub(super) input: Vec<u8>,
    pub(super) written: u64,
    pub(super) is_paused: bool,
    pub(super) stopped: bool,
}

impl SimulatedLink {
    /// Returns `true` if another turn would make progress.
    fn has_work(&self, network: &Network) -> bool {
        let can_read = !self.is_paused && (self.stopped || !network.to_client.is_empty());
        let can_write = !self.core.output().is_empty() || !network.to_broker.is_empty();
        can_read || can_write || network.connection.is_none() && !self.is_paused
    }
}

impl Link for SimulatedLink {
    fn poll(
        &mut self,
        deadline: Option<Instant>,
        mut handle: impl FnMut(&mut Connection, Event<'_>) -> ControlFlow<()>,
    ) -> Result<Wakeup, ClientError> {
        let now = Instant::now();
        self.flush();
        let shared = Rc::clone(&self.network);
        let mut network = shared.borrow_mut();
        network.run_broker(now);
        // These events would end the wait of the real event loop. The driver would then run another turn, which begins
        // with the requests of callers.
        let has_events = network.connection.is_none() || !network.to_client.is_empty();
        if network.connection.is_none() && !self.is_paused {
            self.core.begin_attempt(now);
            self.core.handle_reached(now)?;
            self.input.clear();
            self.stopped = false;
            network.connection = Some(network.broker.open(now, "client".into(), 0));
        }
        let is_cut = network.has_faults && network.random.u8(0..40) == 0;
        if !self.is_paused {
            let available = network.to_client.len();
            let count = available - network.random.usize(0..=available / 2);
            if !self.stopped {
                self.input.extend(network.to_client.drain(..count));
            }
            let mut input = &self.input[..];
            let flow = self.core.handle_input(now, &mut input, &mut handle);
            let handled = self.input.len() - input.len();
            self.input.drain(..handled);
            self.stopped = flow?.is_break();
            // The driver reads the rest of a connection before it sees the end.
            if is_cut && !self.stopped {
                network.cut(now);
                self.core.handle_close();
                let result = self.core.handle_input(now, &mut &[][..], &mut handle);
                let error = result.expect_err("the connection has ended");
                let (error, wait) = self.core.handle_lost(now, error, 0)?;
                network.is_asleep = false;
                return Ok(Wakeup::Disconnected(error, wait));
            }
        }
        let waits = deadline.is_none_or(|deadline| deadline > now);
        let handles_events = has_events && !self.is_paused;
        network.is_asleep = waits && !handles_events && !self.has_work(&network);
        Ok(Wakeup::Progress)
    }

    fn publish(
        &mut self,
        outgoing: OutboundMessage,
    ) -> Result<Option<PacketIdentifier>, mqtt_session::PublishError> {
        self.core.publish(Instant::now(), outgoing)
    }

    fn flush(&mut self) {
        let mut network = self.network.borrow_mut();
        if network.connection.is_none() {
            return;
        }
        let output = self.core.output();
        let count = output.len() - network.random.usize(0..=output.len() / 2);
        network.to_broker.extend(&output[..count]);
        self.written += count as u64;
        self.core.consume_output(Instant::now(), count);
    }

    fn pause(&mut self) {
        self.is_paused = true;
    }

    fn resume(&mut self) {
        self.is_paused = false;
    }

    fn disconnect(&mut self, disconnect: Disconnect, _: Duration) -> Result<(), ClientError> {
        self.core.disconnect(Instant::now(), disconnect);
        Ok(())
    }

    fn take_rejected(&mut self) -> Vec<Rejected> {
        self.core.take_rejected()
    }

    fn connection(&mut self) -> Option<&mut Connection> {
        self.core.connection()
    }

    fn backlog(&self) -> Vec<OutboundMessage> {
        self.core.backlog().cloned().collect()
    }

    fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn has_hung_up(&self) -> bool {
        false
    }

    fn is_connected(&self) -> bool {
        self.core.is_connected()
    }

    fn unfinished(&self) -> usize {
        self.core.unfinished()
    }

    fn unwritten(&self) -> usize {
        self.core.output().len()
    }

    fn written(&self) -> u64 {
        self.written
    }

    fn end_of_output(&self) -> u64 {
        self.written + self.core.output().len() as u64
    }

    fn server(&self) -> String {
        "server".into()
    }
}
