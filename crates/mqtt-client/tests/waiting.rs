//! Test that a client uses no CPU time while it waits for the broker. The test measures the CPU time of its process, so
//! it must be the only test in this file.
#![cfg(target_os = "linux")]

use std::time::Duration;

use mqtt_client::{Client, ClientEvent, QoS};
use mqtt_test_broker::TestBroker;

/// Returns the CPU time that this process has used so far, with a resolution of 10 ms.
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
    // The test measures this wait. A client that polls in a loop would use two seconds of CPU time.
    assert!(token.wait(Duration::from_secs(2)).is_err());
    let used = cpu_time() - before;
    assert!(used < Duration::from_millis(200), "{used:?}");
    broker.restart();
    token.wait(TIMEOUT).unwrap();
}
