//! The ground of an attack: a new broker in a temporary folder, and the measurements before, during and after the
//! attack.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mqtt_codec::{Connect, PacketRef, ProtocolVersion};
use tempfile::TempDir;
use tests::{Broker, Kind, Peer, free_port, peak_memory, resident_memory};

use crate::bystander::{Bystander, Observed};
use crate::scenario::{Scale, Scenario, Site};

/// The settings of each broker.
const SETTINGS: &str = "max_connections -1\nsys_interval 0";

/// The maximum time of an attack. The short form has less time, so that a broker that hangs does not delay the whole
/// run. `--long` has more time, for links at their real rate.
const QUICK_TIME: Duration = Duration::from_secs(8);
const TIME: Duration = Duration::from_secs(20);
const LONG_TIME: Duration = Duration::from_secs(320);

/// Maximum time between an attack and the last measurement of memory in the short form. It is short, because the short form
/// does not check this memory.
const QUICK_SETTLE: Duration = Duration::from_millis(500);

/// The time in which the broker must serve a new client after an attack.
const SERVICE: Duration = Duration::from_secs(5);

/// The interval at which the memory of the broker is read.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// The limit of the broker's address space, so that an attack cannot use up the memory of the machine.
const ADDRESS_SPACE: u64 = 4 << 30;

/// The number of round trips of the bystander that the short form requires in each scenario.
pub(crate) const QUICK_ROUNDS: u64 = 10;

/// Memory that may stay in use after an attack: 1.5 times the memory before, and this number of bytes.
pub(crate) const ROOM: u64 = 4_000_000;

/// The measurements of one attack on one broker.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) observed: Observed,
    /// Resident memory in bytes: before the attack, the maximum, and after the attack.
    pub(crate) memory: [u64; 3],
    /// Bytes that the attacker has sent.
    pub(crate) sent: u64,
    /// Bytes of the store.
    pub(crate) store: u64,
    /// Set if the process runs and serves a new client.
    pub(crate) is_alive: bool,
    /// Further facts about this scenario, for the table.
    pub(crate) facts: Vec<String>,
    /// Expectations of this scenario that were not met.
    pub(crate) unmet: Vec<String>,
}

/// A broker under attack.
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    pub(crate) scale: Scale,
    broker: Option<Broker>,
    folder: TempDir,
    second_port: u16,
    bystander: Option<Bystander>,
    observed: Observed,
    sampler: Sampler,
    before: u64,
    start: Instant,
    sent: Meter,
    facts: Vec<String>,
    unmet: Vec<String>,
}

/// Counts the bytes that attackers send, from any thread.
#[derive(Debug, Clone, Default)]
pub(crate) struct Meter(Arc<AtomicU64>);

/// Runs a scenario against a broker. Returns `None` if the broker lacks the feature.
pub(crate) fn run(scenario: &Scenario, kind: Kind, scale: Scale) -> Option<Outcome> {
    let folder = tempfile::tempdir().expect("there is room");
    std::fs::create_dir(folder.path().join("store")).expect("there is room");
    let second_port = free_port();
    let own = (scenario.settings)(&Site {
        kind,
        folder: folder.path(),
        second_port,
    })?;
    let user = match kind {
        // If root starts mosquitto, it would switch to a user who may not write in the folder.
        Kind::Mosquitto => "user root\n",
        Kind::Rbroker => "",
    };
    let broker = Broker::start_silent(kind, &format!("{SETTINGS}\n{user}{own}"));
    limit(broker.running.id(), &format!("--as={ADDRESS_SPACE}"));
    let mut ground = Ground {
        kind,
        scale,
        sampler: Sampler::start(broker.running.id()),
        broker: Some(broker),
        folder,
        second_port,
        bystander: None,
        observed: Observed::default(),
        before: 0,
        start: Instant::now(),
        sent: Meter::default(),
        facts: Vec::new(),
        unmet: Vec::new(),
    };
    (scenario.attack)(&mut ground);
    Some(ground.finish(scenario.settle))
}

impl Ground {
    /// Ends the preparations. From now on the memory, the bystander and the bytes sent are measured.
    pub(crate) fn begin(&mut self) {
        self.before = self.resident();
        self.sampler.reset();
        self.sent.0.store(0, Ordering::Relaxed);
        self.start = Instant::now();
        self.bystander = Some(Bystander::start(self.address(), self.scale));
    }

    /// Returns the address of the first listener.
    pub(crate) fn address(&self) -> SocketAddr {
        self.broker().address()
    }

    /// Returns the address of the second listener, for the scenarios whose settings have one.
    pub(crate) fn second_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.second_port).into()
    }

    /// Returns the process of the broker.
    pub(crate) fn process(&self) -> u32 {
        self.broker().running.id()
    }

    /// Returns the folder of the broker.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the counter of the bytes that the attack sends.
    pub(crate) fn meter(&self) -> Meter {
        self.sent.clone()
    }

    /// Returns the time that is left for the attack.
    pub(crate) fn time_left(&self) -> Duration {
        let time = match self.scale {
            Scale::Quick => QUICK_TIME,
            Scale::Full => TIME,
            Scale::Long => LONG_TIME,
        };
        time.saturating_sub(self.start.elapsed())
    }

    /// Returns the number of round trips that the bystander has completed.
    pub(crate) fn rounds(&self) -> u64 {
        self.observed.rounds + self.bystander.as_ref().map_or(0, Bystander::rounds)
    }

    /// Returns the resident memory of the broker in bytes, 0 if it has ended.
    pub(crate) fn resident(&self) -> u64 {
        resident_memory(self.process()).unwrap_or(0)
    }

    /// Returns the resident memory of the broker before the attack.
    pub(crate) fn before(&self) -> u64 {
        self.before
    }

    /// Returns the bytes that the attack has sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.0.load(Ordering::Relaxed)
    }

    /// Returns the bytes of the files in the store.
    pub(crate) fn store(&self) -> u64 {
        size_of(&self.folder.path().join("store"))
    }

    /// Adds a fact to the row.
    pub(crate) fn fact(&mut self, fact: String) {
        self.facts.push(fact);
    }

    /// Records an expectation that was not met, which fails the row of rbroker.
    pub(crate) fn expect(&mut self, is_met: bool, expectation: String) {
        if !is_met {
            self.unmet.push(expectation);
        }
    }

    /// Stops the broker, starts it again at the same port, and starts a new bystander.
    pub(crate) fn restart(&mut self) {
        self.dismiss_bystander();
        let broker = self.broker.take().expect("it is only absent here");
        let broker = broker.stop().start();
        self.sampler.follow(broker.running.id());
        self.broker = Some(broker);
        self.bystander = Some(Bystander::start(self.address(), self.scale));
    }

    /// Sends a signal to the broker.
    pub(crate) fn signal(&self, name: &str) {
        self.broker().running.signal(name);
    }

    /// Limits the number of file descriptors of the broker.
    pub(crate) fn limit_descriptors(&self, count: u32) {
        limit(self.process(), &format!("--nofile={count}:{count}"));
    }

    /// Returns the time until the ping of a new client is answered; `None` if that takes too long.
    pub(crate) fn serves_new_client(&self) -> Option<Duration> {
        let start = Instant::now();
        let connect = Connect::new(ProtocolVersion::V3_1_1, "newcomer");
        let mut peer = Peer::try_open(self.address(), connect).ok()?;
        peer.set_timeout(SERVICE);
        peer.push(&PacketRef::Pingreq);
        peer.flush();
        peer.read(&mut |_| {}).then(|| start.elapsed())
    }

    fn broker(&self) -> &Broker {
        self.broker
            .as_ref()
            .expect("it is only absent in a restart")
    }

    fn dismiss_bystander(&mut self) {
        if let Some(bystander) = self.bystander.take() {
            self.observed.merge(bystander.finish());
        }
    }

    /// Waits until the bystander has completed the number of round trips that the short form requires. A quick attack
    /// may end before.
    fn wait_for_rounds(&self) {
        let start = Instant::now();
        let is_running = || self.bystander.as_ref().is_some_and(Bystander::is_running);
        while self.rounds() < QUICK_ROUNDS && is_running() && start.elapsed() < SERVICE {
            thread::sleep(SAMPLE_INTERVAL);
        }
    }

    fn finish(mut self, settle: Duration) -> Outcome {
        let end = Instant::now();
        let settle = match self.scale {
            Scale::Quick => QUICK_SETTLE,
            Scale::Full | Scale::Long => settle,
        };
        let enough = self.before + self.before / 2 + ROOM;
        while self.resident() > enough && end.elapsed() < settle {
            thread::sleep(SAMPLE_INTERVAL);
        }
        if self.scale == Scale::Quick {
            self.wait_for_rounds();
        }
        self.dismiss_bystander();
        let is_alive = self.serves_new_client().is_some();
        let after = self.resident();
        Outcome {
            observed: self.observed,
            memory: [self.before, self.sampler.peak().max(after), after],
            sent: self.sent(),
            store: self.store(),
            is_alive,
            facts: self.facts,
            unmet: self.unmet,
        }
    }
}

impl Meter {
    /// Adds bytes that were sent.
    pub(crate) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A thread that records the maximum memory of a process, even if the process dies.
struct Sampler {
    thread: Option<JoinHandle<()>>,
    state: Arc<Sampled>,
}

#[derive(Default)]
struct Sampled {
    process: AtomicU32,
    peak: AtomicU64,
    stop: AtomicBool,
}

impl Sampler {
    fn start(process: u32) -> Self {
        let state = Arc::new(Sampled::default());
        state.process.store(process, Ordering::Relaxed);
        let thread = thread::spawn({
            let state = Arc::clone(&state);
            move || {
                while !state.stop.load(Ordering::Relaxed) {
                    state.look();
                    thread::sleep(SAMPLE_INTERVAL);
                }
            }
        });
        Self {
            thread: Some(thread),
            state,
        }
    }

    /// Resets the maximum, also in the system.
    fn reset(&self) {
        let process = self.state.process.load(Ordering::Relaxed);
        let _ = std::fs::write(format!("/proc/{process}/clear_refs"), "5");
        self.state.peak.store(0, Ordering::Relaxed);
    }

    /// Continues with another process.
    fn follow(&self, process: u32) {
        self.state.process.store(process, Ordering::Relaxed);
    }

    fn peak(&self) -> u64 {
        self.state.look();
        self.state.peak.load(Ordering::Relaxed)
    }
}

impl Sampled {
    fn look(&self) {
        let peak = peak_memory(self.process.load(Ordering::Relaxed)).unwrap_or(0);
        self.peak.fetch_max(peak, Ordering::Relaxed);
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Limits a resource of a running process.
fn limit(process: u32, option: &str) {
    let status = Command::new("prlimit")
        .args(["--pid", &process.to_string(), option])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "prlimit works");
}

fn size_of(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| entry.metadata().ok());
    sizes.map(|metadata| metadata.len()).sum()
}
