//! Tests of the handover alone, and of a client whose reader borrows the driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mqtt_codec::QoS;
use mqtt_test_broker::TestBroker;

use super::*;
use crate::Client;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Starts a thread that waits until the driver, a number, comes back.
fn wait_in_thread(handover: &Arc<Handover<u32>>) -> thread::JoinHandle<Option<u32>> {
    let handover = Arc::clone(handover);
    thread::spawn(move || handover.wait_for_return())
}

#[test]
fn the_thread_takes_back_a_driver_that_no_reader_uses() {
    let handover = Handover::new();
    handover.release(7, || false);
    assert_eq!(handover.wait_for_return(), Some(7));
}

#[test]
fn the_thread_takes_back_the_driver_of_a_reader_that_stays_away() {
    let handover = Arc::new(Handover::new());
    handover.release(7, || false);
    let driver = handover.borrow().expect("the driver is idle");
    let thread = wait_in_thread(&handover);
    let start = Instant::now();
    // The thread sleeps without a deadline now.
    while !lock(&handover.state).thread_sleeps {
        assert!(start.elapsed() < TIMEOUT);
        thread::yield_now();
    }
    handover.release(driver, || false);
    assert_eq!(thread.join().expect("no panic"), Some(7));
}

#[test]
fn work_recalls_the_driver_from_a_reader_that_uses_it_all_the_time() {
    for adds_work_during_release in [false, true] {
        let handover = Arc::new(Handover::new());
        handover.release(7, || false);
        let thread = wait_in_thread(&handover);
        // Every loan starts the time of the thread again, so the driver returns only because of the work.
        let start = Instant::now();
        while let Some(driver) = handover.borrow() {
            assert!(start.elapsed() < TIMEOUT, "the driver was not recalled");
            let has_work = start.elapsed() > GRACE;
            handover.release(driver, || {
                if has_work && adds_work_during_release {
                    handover.recall();
                }
                has_work && !adds_work_during_release
            });
        }
        assert_eq!(thread.join().expect("no panic"), Some(7));
    }
}

#[test]
fn a_reader_gets_the_driver_that_it_requests() {
    let handover = Arc::new(Handover::new());
    let lender = Arc::clone(&handover);
    let thread = thread::spawn(move || {
        let mut driver = 7;
        let start = Instant::now();
        while lender.borrowed() == 0 {
            assert!(start.elapsed() < TIMEOUT);
            if lender.is_requested() {
                lender.release(driver, || false);
                driver = lender.wait_for_return().expect("the client has not ended");
            }
        }
    });
    // On a busy machine the thread may be too slow for a request.
    let driver = loop {
        let mut wakes = 0;
        let driver = handover.request(|| wakes += 1, None);
        assert_eq!(wakes, 1);
        assert!(!handover.is_requested());
        if let Some(driver) = driver {
            break driver;
        }
    };
    handover.release(driver, || false);
    thread.join().expect("no panic");
}

#[test]
fn a_request_ends_at_the_deadline_of_the_reader() {
    let handover = Handover::<u32>::new();
    let past = Instant::now();
    assert_eq!(handover.request(|| (), Some(past)), None);
    assert!(!handover.is_requested(), "the thread would lend it in vain");
}

#[test]
fn the_text_of_a_handover_contains_nothing_of_the_driver() {
    let handover = Handover::new();
    handover.release("password", || false);
    assert!(!format!("{handover:?}").contains("password"));
}

#[test]
fn the_end_of_the_client_ends_the_wait_of_the_thread() {
    let handover = Arc::new(Handover::<u32>::new());
    let thread = wait_in_thread(&handover);
    handover.end();
    assert_eq!(thread.join().expect("no panic"), None);
}

impl<D> Handover<D> {
    fn borrowed(&self) -> u64 {
        lock(&self.state).loans
    }
}

/// Publishes messages with the numbers from 0 until `ends` is set. Returns their count.
fn publish_numbers(
    broker: &TestBroker,
    qos: QoS,
    ends: &Arc<AtomicBool>,
) -> thread::JoinHandle<u32> {
    let publisher = Client::builder()
        .url(&broker.url())
        .unwrap()
        .connect()
        .unwrap();
    let ends = Arc::clone(ends);
    thread::spawn(move || {
        let mut number = 0_u32;
        while !ends.load(Ordering::SeqCst) {
            let token = publisher.publish("a", number.to_string(), qos).unwrap();
            // Small batches make the reader wait often.
            if number % 8 == 0 {
                token.wait(TIMEOUT).unwrap();
            }
            number += 1;
        }
        publisher.disconnect(TIMEOUT).unwrap();
        number
    })
}

/// Returns a client whose reader has borrowed the driver.
fn lent(broker: &TestBroker, qos: QoS) -> (Client, crate::Messages, u32) {
    let client = Client::builder()
        .url(&broker.url())
        .unwrap()
        .connect()
        .unwrap();
    client.subscribe("a", qos).unwrap();
    let mut messages = client.messages();
    let ends = Arc::new(AtomicBool::new(false));
    let publisher = publish_numbers(broker, qos, &ends);
    let start = Instant::now();
    let mut received = 0;
    while client.shared().handover.borrowed() < 100 {
        assert!(
            start.elapsed() < TIMEOUT,
            "the reader never borrows the driver"
        );
        let message = messages.receive(TIMEOUT).unwrap().unwrap();
        assert_eq!(message.text(), Some(&*received.to_string()));
        received += 1;
    }
    ends.store(true, Ordering::SeqCst);
    (
        client,
        messages,
        publisher.join().expect("no panic") - received,
    )
}

#[test]
fn a_reader_of_a_fast_stream_gets_every_message_in_order() {
    let broker = TestBroker::start();
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let (client, messages, left) = lent(&broker, qos);
        let start = Instant::now();
        assert_eq!(messages.take(left as usize).count(), left as usize);
        assert!(start.elapsed() < TIMEOUT / 2, "a wake-up was lost");
        client.disconnect(TIMEOUT).unwrap();
    }
}

#[test]
fn a_client_works_when_the_reader_of_a_fast_stream_does_something_else() {
    let broker = TestBroker::start();
    let (client, mut messages, _) = lent(&broker, QoS::AtLeastOnce);
    for number in 0..20_u32 {
        let result = client.publish_and_wait("b", number.to_string(), QoS::ExactlyOnce, TIMEOUT);
        result.unwrap();
        // The reader may borrow the driver again in between.
        let _ = messages.receive(Duration::from_millis(1)).unwrap();
    }
    client.subscribe("c", QoS::AtLeastOnce).unwrap();
    client.disconnect(TIMEOUT).unwrap();
}

#[test]
fn a_client_ends_while_the_reader_of_a_fast_stream_waits() {
    let broker = TestBroker::start();
    let (client, messages, left) = lent(&broker, QoS::AtMostOnce);
    let received = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&received);
    let reader = thread::spawn(move || {
        messages.for_each(|_| {
            counter.fetch_add(1, Ordering::SeqCst);
        });
    });
    let start = Instant::now();
    while received.load(Ordering::SeqCst) < left {
        assert!(start.elapsed() < TIMEOUT);
        thread::yield_now();
    }
    client.disconnect(TIMEOUT).unwrap();
    reader.join().expect("no panic");
}
