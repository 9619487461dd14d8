//! The bystander: an honest client that publishes messages to itself at QoS 1 and sends pings, and measures how long
//! the broker takes to answer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::Peer;

use crate::scenario::Scale;

/// The maximum time that the bystander waits for one answer. A bystander that waits longer counts as lost.
const PATIENCE: Duration = Duration::from_secs(25);
const QUICK_PATIENCE: Duration = Duration::from_secs(8);

/// The pause between two round trips, so that the bystander itself puts no load on the broker.
const PAUSE: Duration = Duration::from_millis(1);

const TOPIC: &str = "bystander/loop";

/// Measurements of a bystander.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Observed {
    /// The longest round trip.
    pub(crate) worst: Duration,
    /// The number of round trips.
    pub(crate) rounds: u64,
    /// Set if the broker closed the connection or did not answer in time.
    pub(crate) is_lost: bool,
}

/// A bystander, which runs in a thread.
pub(crate) struct Bystander {
    thread: JoinHandle<Observed>,
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
}

impl Bystander {
    /// Connects and starts to measure.
    pub(crate) fn start(address: SocketAddr, scale: Scale) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds = Arc::new(AtomicU64::new(0));
        let mut peer = Peer::connect(address, "bystander");
        peer.set_timeout(match scale {
            Scale::Quick => QUICK_PATIENCE,
            Scale::Full | Scale::Long => PATIENCE,
        });
        peer.subscribe(TOPIC, QoS::AtLeastOnce);
        let thread = thread::spawn({
            let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
            move || measure(&mut peer, &stop, &rounds)
        });
        Self {
            thread,
            stop,
            rounds,
        }
    }

    /// Returns the number of round trips so far.
    pub(crate) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// Returns `true` until the bystander has lost its connection.
    pub(crate) fn is_running(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Waits for the end of the current round trip and returns the measurements.
    pub(crate) fn finish(self) -> Observed {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the bystander does not panic")
    }
}

impl Observed {
    /// Adds the measurements of a later bystander.
    pub(crate) fn merge(&mut self, later: Self) {
        self.worst = self.worst.max(later.worst);
        self.rounds += later.rounds;
        self.is_lost |= later.is_lost;
    }
}

fn measure(peer: &mut Peer, stop: &AtomicBool, rounds: &AtomicU64) -> Observed {
    let mut observed = Observed::default();
    while !stop.load(Ordering::Relaxed) && !observed.is_lost {
        let start = Instant::now();
        let is_answered = match observed.rounds % 2 {
            0 => exchange(peer),
            _ => ping(peer),
        };
        observed.worst = observed.worst.max(start.elapsed());
        observed.is_lost = !is_answered;
        observed.rounds += 1;
        rounds.store(observed.rounds, Ordering::Relaxed);
        thread::sleep(PAUSE);
    }
    observed
}

/// Publishes a message, and waits for the message and for its acknowledgement.
fn exchange(peer: &mut Peer) -> bool {
    let topic_name = TopicName::new(TOPIC).expect("a topic name");
    let message = Message::new(topic_name, vec![b'x'; 16]);
    let delivery = Delivery::first(QoS::AtLeastOnce, PacketIdentifier::FIRST);
    peer.push(&PacketRef::Publish(message.publish(delivery)));
    peer.flush();
    let (mut is_acknowledged, mut is_back) = (false, false);
    while !(is_acknowledged && is_back) {
        let goes_on = peer.read(&mut |packet| match packet {
            PacketRef::Puback(_) => is_acknowledged = true,
            PacketRef::Publish(_) => is_back = true,
            _ => {}
        });
        if !goes_on {
            return false;
        }
    }
    true
}

fn ping(peer: &mut Peer) -> bool {
    peer.push(&PacketRef::Pingreq);
    peer.flush();
    let mut is_answered = false;
    let mut goes_on = true;
    while goes_on && !is_answered {
        goes_on = peer.read(&mut |packet| is_answered |= *packet == PacketRef::Pingresp);
    }
    is_answered
}
