//! Tests of the futures that wait for room in an [`Outbox`].

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use mqtt_codec::Message;

use super::*;

/// Records that a future was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn publication(qos: QoS) -> Publication {
    let message = Message::new(TopicName::new("t").unwrap(), "x");
    Publication {
        outgoing: OutboundMessage::new(Arc::new(message), qos),
        slot: Slot::new(),
    }
}

/// Returns the result of a message for which the full queue has no room, after this change.
fn result_after(qos: QoS, change: impl FnOnce(&Outbox)) -> Result<(), PublishError> {
    let outbox = Outbox::new(Waker::noop().clone(), 1, usize::MAX);
    outbox.set_connected(true);
    outbox.publish(publication(QoS::AtLeastOnce), None).unwrap();
    let mut waiting = Some(publication(qos));
    let publish = || outbox.poll_publish(&mut waiting);
    let mut future = pin!(outbox.wakers.wait_for(None, publish));
    let woken = Arc::new(Woken::default());
    let waker = Arc::clone(&woken).into();
    let mut context = Context::from_waker(&waker);
    assert!(future.as_mut().poll(&mut context).is_pending());
    change(&outbox);
    assert!(woken.0.load(Ordering::SeqCst), "the future is not woken");
    match future.poll(&mut context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the future waits"),
    }
}

#[test]
fn wakes_a_future_that_waits_for_room_after_each_change() {
    let result = result_after(QoS::AtMostOnce, |outbox| {
        outbox.set_connected(false);
    });
    assert!(matches!(result, Err(PublishError::Disconnected { .. })));
    let result = result_after(QoS::AtLeastOnce, |outbox| {
        outbox.close(Instant::now() + Duration::from_secs(60));
    });
    assert!(matches!(result, Err(PublishError::Closed { .. })));
    let result = result_after(QoS::AtLeastOnce, |outbox| {
        outbox.end(&ConnectError::Closed);
    });
    assert!(matches!(result, Err(PublishError::Closed { .. })));
    let result = result_after(QoS::AtLeastOnce, |outbox| {
        outbox.take_publications(&mut VecDeque::new(), 1);
    });
    assert!(result.is_ok());
}
