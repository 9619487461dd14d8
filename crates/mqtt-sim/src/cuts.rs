//! Delivers one message with a fault at each byte of each packet. A publisher sends the message to the broker, and the
//! broker sends it to a subscriber. At every place the connection is cut, the broker is killed, or its machine loses
//! power. Nothing here is random. Runs with two faults cover all pairs of places.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mqtt_broker::{Clock, Store};
use mqtt_broker_core::{Broker, ConnectionId, Limits};
use mqtt_client::{ClientCore, ClientError, Message, Options, QoS, Reconnect};
use mqtt_codec::{
    Connect, ProtocolVersion, ReasonCode, SubscribeProperties, Subscription, SubscriptionOptions,
    TopicFilter, TopicName,
};
use mqtt_session::{CloseReason, Event, OutboundMessage, PublishError, Session};

use crate::Violation;
use crate::disk::SimDisk;

/// The kind of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// The connection is cut, and the session is resumed.
    Cut,
    /// The process of the broker is killed.
    Kill,
    /// The broker's machine loses its power.
    PowerLoss,
}

/// A fault after a number of bytes in one of the four directions. Directions 0 to 3 are: publisher to broker, broker to
/// publisher, broker to subscriber, subscriber to broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    way: usize,
    bytes: usize,
    kind: FaultKind,
}

/// The numbers of runs.
#[derive(Debug, Clone, Copy, Default)]
pub struct Runs {
    /// The number of runs with one fault.
    pub single: u64,
    /// The number of runs with two faults.
    pub double: u64,
}

/// Makes a run for each kind of fault at each place, and a run for each pair of faults: of two cuts, or of all kinds if
/// `all_kinds` is set.
///
/// # Errors
/// Returns the broken invariant with the faults.
pub fn run_cuts(all_kinds: bool) -> Result<Runs, Violation> {
    let mut runs = Runs::default();
    for version in [ProtocolVersion::V3_1_1, ProtocolVersion::V5_0] {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let lengths = run(version, qos, &[])?;
            for kind in [FaultKind::Cut, FaultKind::Kill, FaultKind::PowerLoss] {
                for first in places(kind, lengths) {
                    let lengths = run(version, qos, &[first])?;
                    runs.single += 1;
                    for second in [FaultKind::Cut, FaultKind::Kill, FaultKind::PowerLoss] {
                        // Pairs of all kinds are nine times as many runs as pairs of cuts.
                        if !all_kinds && (kind != FaultKind::Cut || second != FaultKind::Cut) {
                            continue;
                        }
                        for second in places(second, lengths) {
                            run(version, qos, &[first, second])?;
                            runs.double += 1;
                        }
                    }
                }
            }
        }
    }
    Ok(runs)
}

/// Returns all places for a fault, if these numbers of bytes pass in each direction. The first place is before the
/// first byte, and the last place is after the last byte.
fn places(kind: FaultKind, lengths: [usize; 4]) -> impl Iterator<Item = Fault> {
    let of_way = move |way| (0..=lengths[way]).map(move |bytes| Fault { way, bytes, kind });
    (0..4).flat_map(of_way)
}

/// Runs until the message is delivered. Returns the number of bytes that passed in each direction after the last fault.
fn run(version: ProtocolVersion, qos: QoS, faults: &[Fault]) -> Result<[usize; 4], Violation> {
    // Only a kill or a loss of power needs a store. Runs without a store are much faster.
    let with_store = faults.iter().any(|fault| fault.kind != FaultKind::Cut);
    let mut run = CutRun::new(version, qos, with_store);
    let failed =
        |what: String| Violation::new("cuts", format!("{version} QoS {qos} {faults:?}: {what}"));
    for fault in faults {
        run.run_to(Some(*fault)).map_err(&failed)?;
    }
    run.run_to(None).map_err(&failed)?;
    let got = run.got;
    let right = match qos {
        QoS::ExactlyOnce => got == 1,
        _ => got >= 1,
    };
    if !right {
        return Err(failed(format!("the message came {got} times")));
    }
    Ok(run.passed)
}

struct CutRun {
    now: Instant,
    start: Instant,
    broker: Broker,
    store: Option<(SimDisk, Option<Store>)>,
    /// The publisher and the subscriber.
    ends: [End; 2],
    qos: QoS,
    subscribed: bool,
    published: bool,
    delivered: bool,
    got: u32,
    /// The number of bytes that passed in each direction since the last fault.
    passed: [usize; 4],
}

struct End {
    core: ClientCore,
    connection: Option<ConnectionId>,
    client_input: Vec<u8>,
    broker_input: Vec<u8>,
}

impl CutRun {
    fn new(version: ProtocolVersion, qos: QoS, with_store: bool) -> Self {
        let now = Instant::now();
        let mut broker = new_broker();
        let store = with_store.then(|| {
            broker.record_mutations();
            let disk = SimDisk::default();
            let store = Store::with_backend(disk.clone(), clock(now, now)).expect("an empty disk");
            (disk, Some(store))
        });
        Self {
            now,
            start: now,
            broker,
            store,
            ends: [End::new(version, "p"), End::new(version, "s")],
            qos,
            subscribed: false,
            published: false,
            delivered: false,
            got: 0,
            passed: [0; 4],
        }
    }

    /// Runs until the fault, or until no more bytes move. Each round moves all bytes of each direction once.
    fn run_to(&mut self, fault: Option<Fault>) -> Result<(), String> {
        self.passed = [0; 4];
        for _ in 0..200 {
            for end in 0..2 {
                self.connect(end)?;
            }
            let before = self.passed;
            for way in 0..4 {
                let left = match fault {
                    Some(fault) if fault.way == way => fault.bytes - self.passed[way],
                    _ => usize::MAX,
                };
                self.pass(way, left)?;
                if let Some(fault) = fault.filter(|fault| self.passed[fault.way] == fault.bytes) {
                    if fault.way == way {
                        return self.fail(fault);
                    }
                }
            }
            if self.subscribed && !self.published {
                self.publish()?;
            } else if before == self.passed {
                return match (fault, self.delivered && self.is_quiet()) {
                    // The place is from a run that was equal up to this byte, so the byte must have passed.
                    (Some(fault), _) => Err(format!("{fault:?} was not reached")),
                    (None, true) => Ok(()),
                    (None, false) => Err("it does not come to its end".into()),
                };
            }
        }
        Err("it does not end".into())
    }

    fn is_quiet(&self) -> bool {
        self.ends.iter().all(|end| end.core.unfinished() == 0)
    }

    fn publish(&mut self) -> Result<(), String> {
        let message = Message::new(TopicName::new("t").expect("valid"), "0123456789abcdef");
        let outgoing = OutboundMessage::new(Arc::new(message), self.qos);
        let result = self.ends[0].core.publish(self.now, outgoing);
        self.published = result.is_ok();
        match result {
            // `Session::without_state` first lets the broker release all packet identifiers. Until then the client has
            // no quota.
            Ok(_) | Err(PublishError::QuotaUsedUp) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn connect(&mut self, end: usize) -> Result<(), String> {
        let end = &mut self.ends[end];
        if end.connection.is_none() {
            end.core
                .handle_reached(self.now)
                .map_err(|error| error.to_string())?;
            end.connection = Some(self.broker.open(self.now, "peer".into(), 0));
        }
        Ok(())
    }

    /// Moves at most `most` bytes in one direction, which is up to the place of the fault.
    fn pass(&mut self, way: usize, most: usize) -> Result<(), String> {
        let index = way / 2;
        let Some(id) = self.ends[index].connection else {
            return Ok(());
        };
        // The publisher sends in direction 0, the subscriber in direction 3.
        let to_broker = way == 0 || way == 3;
        if to_broker {
            let end = &mut self.ends[index];
            let count = end.core.output().len().min(most);
            end.broker_input.extend(&end.core.output()[..count]);
            end.core.consume_output(self.now, count);
            self.passed[way] += count;
            let mut input = &end.broker_input[..];
            self.broker.handle_input(self.now, id, &mut input);
            end.broker_input = input.to_vec();
        } else {
            self.commit()?;
            let count = self.broker.output(id).len().min(most);
            let bytes = self.broker.output(id)[..count].to_vec();
            self.broker.consume_output(self.now, id, count);
            self.passed[way] += count;
            self.ends[index].client_input.extend(bytes);
            self.client_handles(index)?;
        }
        Ok(())
    }

    fn client_handles(&mut self, index: usize) -> Result<(), String> {
        let end = &mut self.ends[index];
        let (now, buffer) = (self.now, std::mem::take(&mut end.client_input));
        let mut input = &buffer[..];
        let (subscribed, delivered, got) =
            (&mut self.subscribed, &mut self.delivered, &mut self.got);
        let result = end
            .core
            .handle_input(now, &mut input, &mut |connection, event| {
                match event {
                    Event::Connected { .. } if index == 1 => {
                        let subscription = Subscription {
                            topic_filter: TopicFilter::new("t").expect("valid"),
                            options: SubscriptionOptions::new(QoS::ExactlyOnce),
                        };
                        let properties = SubscribeProperties::default();
                        let _ = connection.subscribe(now, vec![subscription], properties);
                    }
                    Event::Subscribed(_) => *subscribed = true,
                    Event::Delivered { .. } => *delivered = true,
                    Event::Message(received) => {
                        *got += 1;
                        if let Some(identifier) = received.publish().delivery.packet_identifier() {
                            connection.acknowledge(now, identifier, ReasonCode::Success);
                        }
                    }
                    _ => {}
                }
                ControlFlow::Continue(())
            });
        end.client_input = input.to_vec();
        result.map(|_| ()).map_err(|error| error.to_string())
    }

    fn commit(&mut self) -> Result<(), String> {
        let clock = self.clock();
        if let Some((_, Some(store))) = &mut self.store {
            let mutations = self.broker.take_mutations();
            if !mutations.is_empty() {
                self.broker.begin_commit();
                store
                    .commit(&mutations, clock)
                    .map_err(|error| error.to_string())?;
                self.broker.end_commit();
            }
        }
        Ok(())
    }

    fn clock(&self) -> Clock {
        clock(self.now, self.start)
    }

    fn fail(&mut self, fault: Fault) -> Result<(), String> {
        let ends = match fault.kind {
            FaultKind::Cut => fault.way / 2..fault.way / 2 + 1,
            FaultKind::Kill | FaultKind::PowerLoss => 0..2,
        };
        for index in ends {
            self.lose(index)?;
        }
        if fault.kind == FaultKind::Cut {
            return Ok(());
        }
        let clock = self.clock();
        let Some((disk, store)) = &mut self.store else {
            return Ok(());
        };
        match fault.kind {
            // The fixed seed keeps the run deterministic. Power is lost between two commits only, and each commit ends
            // with a sync.
            FaultKind::PowerLoss => disk.lose_power(&mut fastrand::Rng::with_seed(0)),
            _ => disk.kill(),
        }
        // A process that was killed writes nothing, so the store must not write when it is dropped.
        disk.fail_after(0);
        *store = None;
        disk.mend();
        let opened = Store::with_backend(disk.clone(), clock).map_err(|error| error.to_string())?;
        let saved = opened.load(clock).map_err(|error| error.to_string())?;
        *store = Some(opened);
        self.broker = new_broker();
        self.broker.record_mutations();
        self.broker.restore(self.now, saved);
        Ok(())
    }

    /// Ends the connection of a client at both ends.
    fn lose(&mut self, index: usize) -> Result<(), String> {
        let end = &mut self.ends[index];
        end.client_input.clear();
        end.broker_input.clear();
        if let Some(id) = end.connection.take() {
            self.broker.remove(self.now, id);
        }
        let error = ClientError::Closed(CloseReason::ConnectionLost);
        let lost = end.core.handle_lost(self.now, error, 0);
        lost.map(|_| ()).map_err(|error| error.to_string())
    }
}

impl End {
    fn new(version: ProtocolVersion, name: &str) -> Self {
        let mut options = Options::new("broker", 1883);
        options.reconnect = Reconnect::Always;
        // With few identifiers the session soon uses each of them again, and releases them quickly after a start.
        options.limits.packet_identifiers = 3;
        options.connect = Connect::new(version, name);
        options.connect.clean_start = false;
        options.connect.keep_alive = 0;
        if version == ProtocolVersion::V5_0 {
            options.connect.properties.session_expiry_interval = Some(u32::MAX);
        }
        Self {
            core: ClientCore::new(options, Some(Session::without_state())),
            connection: None,
            client_input: Vec::new(),
            broker_input: Vec::new(),
        }
    }
}

fn clock(now: Instant, start: Instant) -> Clock {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000);
    Clock {
        now,
        wall: wall + (now - start),
        boot: None,
    }
}

fn new_broker() -> Broker {
    Broker::new(Limits::default(), Box::new(|| 7))
}
