//! A client that waits for its broker uses no CPU time. The only test of this process, whose CPU time it measures.
#![cfg(target_os = "linux")]

use std::time::Duration;

use mqtt_client::{Client, ClientEvent, QoS};
use mqtt_test_broker::TestBroker;

/// Returns the CPU time of this process so far, in steps of 10 ms.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

#[test]
fn messages_that_wait_for_the_broker_use_no_cpu_time() {
    const TIMEOUT: Duration = Duration::from_secs(60);
    let mut broker = TestBroker::start();
    let client = Client::builder().url(&broker.url()).unwrap();
    let client = client.connect().unwrap();
    let mut events = client.events();
    broker.stop();
    assert!(events.any(|event| matches!(event, ClientEvent::Disconnected { .. })));
    let token = client.publish("a", "x", QoS::AtLeastOnce).unwrap();
    let before = cpu_time();
    // The wait is what is measured: a client that spins uses all of it.
    assert!(token.wait(Duration::from_secs(2)).is_err());
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(500), "{used:?}");
    broker.restart();
    token.wait(TIMEOUT).unwrap();
}
