//! Checks exactly which wills the broker publishes, and when (I12). Each CONNECT has a will with a number of its own,
//! so that a publication shows the connection to which the will belongs. A [`WillModel`] computes which wills of a
//! client are due, and when. An [`Observer`] subscribes to all wills and records their publications.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use mqtt_broker_core::{Broker, ConnectionId};

use crate::Violation;
use crate::wire::PacketReader;

/// The payload of a will before [`number_will`] writes the number of the connection into it. The number does not change
/// the length of the CONNECT.
pub(crate) const PLACEHOLDER: &[u8] = b"will of ........";

/// Writes the number of a connection into the will of its CONNECT.
pub(crate) fn number_will(bytes: &mut [u8], connection: u32) {
    let length = PLACEHOLDER.len();
    if let Some(at) = bytes.windows(length).position(|part| part == PLACEHOLDER) {
        bytes[at..at + length].copy_from_slice(format!("will of {connection:08}").as_bytes());
    }
}

/// The wills of one client, as the broker must handle them.
#[derive(Debug, Clone, Default)]
pub(crate) struct WillModel {
    /// The open connection that has a will.
    held: Option<u32>,
    /// The will that waits for its delay.
    delayed: Option<(u32, Instant)>,
    /// The wills that must be published, with the time when they are due.
    due: Vec<(u32, Instant)>,
}

impl WillModel {
    /// Handles a connection that the broker accepts. `connection` is `None` if its CONNECT has no will. `starts_anew`
    /// is set if the CONNECT ends the previous session: a delayed will is then due immediately. Otherwise it is not
    /// published [MQTT-3.1.3-9].
    pub(crate) fn accepted(&mut self, connection: Option<u32>, starts_anew: bool, now: Instant) {
        self.pass_time(now);
        if let Some((number, _)) = self.delayed.take().filter(|_| starts_anew) {
            self.due.push((number, now));
        }
        self.held = connection;
    }

    /// Handles the end of a connection whose will was not deleted. `delay` is the will delay in seconds; `None` if a
    /// newer connection has resumed the session, so that the will is not published.
    pub(crate) fn ended(&mut self, connection: u32, delay: Option<u32>, now: Instant) {
        match delay {
            Some(0) => self.due.push((connection, now)),
            Some(delay) => {
                let due = now + Duration::from_secs(delay.into());
                self.delayed = Some((connection, due));
            }
            None => {}
        }
        self.release(connection);
    }

    /// Deletes the will of a connection after DISCONNECT.
    pub(crate) fn release(&mut self, connection: u32) {
        self.held = self.held.filter(|held| *held != connection);
    }

    /// Handles a restart of the broker with its durable state: an open connection counts as lost at the restart.
    pub(crate) fn restart(&mut self, delay: u32, now: Instant) {
        if let Some(held) = self.held {
            self.ended(held, Some(delay), now);
        }
    }

    /// Makes the delayed will due if its delay has passed.
    pub(crate) fn pass_time(&mut self, now: Instant) {
        let is_over = |delayed: &mut (u32, Instant)| delayed.1 <= now;
        self.due.extend(self.delayed.take_if(is_over));
    }
}

/// A well-behaved subscriber to all wills. The broker's output reaches the observer without a link, and so without
/// delay.
#[derive(Debug)]
pub(crate) struct Observer {
    connection: ConnectionId,
    /// Bytes that the broker has not handled yet.
    input: Vec<u8>,
    reader: PacketReader,
    /// The publications, by client and connection.
    seen: BTreeMap<(usize, u32), WirePacket>,
    /// The previous instant at which something happened. A will that is published now is in time if it was due after
    /// that instant.
    earlier: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct WirePacket {
    after: Option<Instant>,
    at: Instant,
}

/// CONNECT of 3.1.1 with Clean Session 0.
const CONNECT: &[u8] = b"\x10\x14\0\x04MQTT\x04\0\0\0\0\x08observer";
/// SUBSCRIBE to `w/#`, with QoS 0 and with QoS 1.
const SUBSCRIBE: [&[u8]; 2] = [b"\x82\x08\0\x01\0\x03w/#\0", b"\x82\x08\0\x01\0\x03w/#\x01"];

impl Observer {
    /// Subscribes to the wills. With a store the observer uses QoS 1, so that its messages survive a crash.
    pub(crate) fn new(broker: &mut Broker, now: Instant, has_store: bool) -> Self {
        let mut observer = Self {
            connection: ConnectionId::default(),
            input: Vec::new(),
            reader: PacketReader::new(4),
            seen: BTreeMap::new(),
            earlier: None,
        };
        observer.connect(broker, now);
        observer.send(broker, now, SUBSCRIBE[usize::from(has_store)]);
        observer
    }

    /// Connects, at the start and after each restart of the broker. The session of the observer has the subscription.
    pub(crate) fn connect(&mut self, broker: &mut Broker, now: Instant) {
        self.connection = broker.open(now, "observer".into(), 0);
        self.reader = PacketReader::new(4);
        self.input.clear();
        self.send(broker, now, CONNECT);
    }

    fn send(&mut self, broker: &mut Broker, now: Instant, bytes: &[u8]) {
        self.input.extend(bytes);
        let mut rest = &self.input[..];
        broker.handle_input(now, self.connection, &mut rest);
        self.input = rest.to_vec();
    }

    /// Records the present time, before the simulated time advances.
    pub(crate) fn time_passes(&mut self, now: Instant) {
        self.earlier = Some(now);
    }

    /// Reads the output that the broker may write, and acknowledges the messages.
    pub(crate) fn read(&mut self, broker: &mut Broker, now: Instant) -> Result<(), Violation> {
        self.send(broker, now, &[]);
        loop {
            let output = broker.output(self.connection).to_vec();
            if output.is_empty() {
                return Ok(());
            }
            broker.consume_output(now, self.connection, output.len());
            let (seen, mut answers) = (&mut self.seen, Vec::new());
            let publication = WirePacket {
                after: self.earlier,
                at: now,
            };
            self.reader.read(&output, |packet| {
                if packet.qos > 0 {
                    let [high, low] = packet.identifier.to_be_bytes();
                    answers.extend([0x40, 2, high, low]);
                }
                match packet.will {
                    None if packet.kind == 3 => Err(Violation::new("I3", "a will nobody has")),
                    // The broker may have died after it had sent this message the first time.
                    Some(will) if packet.dup => {
                        seen.entry(will).or_insert(publication);
                        Ok(())
                    }
                    Some(will) if seen.insert(will, publication).is_some() => {
                        let what = format!("the will of connection {will:?} is published twice");
                        Err(Violation::new("I12", what))
                    }
                    _ => Ok(()),
                }
            })?;
            self.send(broker, now, &answers);
        }
    }

    /// Compares the publications with the model of a client, at the end of a run.
    ///
    /// # Errors
    /// If a will is missing, was not due, or was published at the wrong time. With `may_be_late` a will may come after
    /// its time, because it waits for a commit or for a later turn of the broker.
    pub(crate) fn check(
        &self,
        client: usize,
        model: &WillModel,
        may_be_late: bool,
    ) -> Result<(), Violation> {
        let broken = |number: u32, what: &str| {
            let what = format!("the will of client {client}, connection {number}: {what}");
            Err(Violation::new("I12", what))
        };
        for (number, due) in &model.due {
            match self.seen.get(&(client, *number)) {
                None => return broken(*number, "due, and not published"),
                Some(seen) if seen.at < *due => return broken(*number, "published too early"),
                Some(seen) if seen.after.is_some_and(|after| after >= *due) && !may_be_late => {
                    return broken(*number, "published too late");
                }
                Some(_) => {}
            }
        }
        let of_client = self.seen.keys().filter(|(index, _)| *index == client);
        for (_, number) in of_client {
            if !model.due.iter().any(|(due, _)| due == number) {
                return broken(*number, "published, and not due");
            }
        }
        Ok(())
    }
}
