//! Messages for many sessions that outlive their connections: the size of the store, and the memory after a restart.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::*;
use tests::Peer;

use super::attacker::{
    Attacker, disconnect, durable, leave_sessions, message, publish_acknowledged,
};
use crate::ground::Ground;
use crate::scenario::{Limit, SETTLE, Scale, Scenario, persistent};

/// Number of messages. Each has 10 kB.
const MESSAGES: usize = 200;

/// The time that a session waits for its next message.
const WAIT: Duration = Duration::from_secs(2);

/// Maximum size of the store in bytes after all messages were fetched.
const SHRUNK: u64 = 4_000_000;

/// Timeout for the store of a running broker to reach [`SHRUNK`].
const SHRINKING: Duration = Duration::from_secs(15);

/// Interval at which the size of the store is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

pub(crate) fn scenarios() -> [Scenario; 1] {
    [Scenario {
        name: "B7",
        title: "2 MB at QoS 1 for 200 durable sessions that are away, a restart, and the sessions fetch all",
        settings: persistent,
        limit: Limit {
            bytes: 200 * 200 * 64 + 200 * 2 * 20_000,
            reason: "64 bytes for each queued message; buffers of 20 messages for each session",
        },
        settle: SETTLE,
        is_quick: true,
        attack: fan_out,
    }]
}

fn fan_out(ground: &mut Ground) {
    let sessions = match ground.scale {
        Scale::Quick => 20,
        Scale::Full | Scale::Long => 200,
    };
    leave_sessions(ground, sessions, "t");
    let mut publisher = Attacker::connect(ground, "publisher");
    ground.begin();
    let message = message("t", 10_000);
    let count = publish_acknowledged(ground, &mut publisher, &message, MESSAGES);
    drop(publisher);
    ground.restart();
    let (memory, store) = (ground.resident(), ground.store());
    ground.fact(format!(
        "{count} messages accepted; after the restart {:.1} MB of memory, store {:.1} MB",
        memory as f64 / 1e6,
        store as f64 / 1e6
    ));
    let bound = 10 * ground.sent() + 4_000_000;
    ground.expect(
        store <= bound,
        "the store is at most ten times the bytes sent and 4 MB".to_owned(),
    );
    ground.expect(
        memory <= ground.before() + bound,
        "memory after a restart is at most ten times the bytes sent and 4 MB more".to_owned(),
    );
    let fetched = fetch(ground, sessions, count);
    ground.fact(format!("{fetched} of {} fetched", sessions * count));
    ground.expect(
        fetched == sessions * count,
        "the sessions fetch all messages".to_owned(),
    );
    if ground.scale == Scale::Quick {
        await_shrunk_store(ground);
    } else {
        ground.restart();
    }
    let store = ground.store();
    ground.fact(format!("store {:.1} MB at the end", store as f64 / 1e6));
    ground.expect(
        store <= SHRUNK,
        "the store shrinks to 4 MB when all is fetched".to_owned(),
    );
}

/// Waits until the store is smaller than [`SHRUNK`], at most for [`SHRINKING`]. A running broker shrinks the store two
/// seconds after the removals.
fn await_shrunk_store(ground: &Ground) {
    let deadline = Instant::now() + SHRINKING;
    while ground.store() > SHRUNK && Instant::now() < deadline {
        thread::sleep(POLL_INTERVAL);
    }
}

/// Resumes all sessions and reads their messages. Returns the number of messages.
fn fetch(ground: &Ground, sessions: usize, each: usize) -> usize {
    const THREADS: usize = 4;
    let fetched = AtomicUsize::new(0);
    let shared = &fetched;
    thread::scope(|scope| {
        for first in 0..THREADS {
            scope.spawn(move || {
                for number in (first..sessions).step_by(THREADS) {
                    if ground.time_left().is_zero() {
                        break;
                    }
                    let connect = durable(&format!("away{number}"));
                    let Ok(mut peer) = Peer::try_open(ground.address(), connect) else {
                        continue;
                    };
                    peer.set_timeout(WAIT);
                    let mut count = 0;
                    while count < each
                        && peer.read(&mut |packet| {
                            count += usize::from(matches!(packet, PacketRef::Publish(_)));
                        })
                    {}
                    shared.fetch_add(count, Ordering::Relaxed);
                    peer.push(&disconnect());
                    peer.flush();
                }
            });
        }
    });
    fetched.into_inner()
}
