//! Tests of [`AsyncClient`], in tokio and without a runtime.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use mqtt_client::{
    AsyncClient, Client, ClientBuilder, ClientEvent, ConnectError, PublishError, QoS,
};
use mqtt_test_broker::TestBroker;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs a future in this thread, without a runtime.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let end = Instant::now() + TIMEOUT;
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        assert!(Instant::now() < end, "no future waits for so long");
        thread::park_timeout(TIMEOUT);
    }
}

/// Polls a future once, as a runtime does that then drops it.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

fn builder(broker: &TestBroker) -> ClientBuilder {
    Client::builder().url(&broker.url()).unwrap()
}

async fn connect(broker: &TestBroker) -> AsyncClient {
    builder(broker).connect_async().await.unwrap()
}

#[test]
fn runs_without_a_runtime() {
    let broker = TestBroker::start();
    block_on(async {
        let client = connect(&broker).await;
        let granted = client.subscribe("a/#", QoS::ExactlyOnce).await.unwrap();
        assert_eq!(granted, QoS::ExactlyOnce);
        let mut messages = client.messages();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            client.publish_and_wait("a/b", "x", qos).await.unwrap();
            let message = messages.receive().await.unwrap();
            assert_eq!((message.qos, message.text()), (qos, Some("x")));
        }
        client.unsubscribe("a/#").await.unwrap();
        client.disconnect(TIMEOUT).await.unwrap();
        assert!(matches!(
            messages.receive().await,
            Err(ConnectError::Closed)
        ));
        let result = client.publish("a/b", "x", QoS::AtLeastOnce).await;
        assert!(matches!(result, Err(PublishError::Closed { .. })));
    });
}

#[test]
fn connecting_to_a_silent_server_is_an_error() {
    let broker = TestBroker::start();
    let url = broker.url();
    drop(broker);
    let result = block_on(Client::builder().url(&url).unwrap().connect_async());
    assert!(
        matches!(
            result,
            Err(ConnectError::Unreachable { .. } | ConnectError::Refused { .. })
        ),
        "{result:?}"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn a_thousand_tasks_wait_for_acknowledgements() {
    let broker = TestBroker::start_with("max_queued_messages 0");
    let client = builder(&broker)
        .outgoing_queue(10, usize::MAX)
        .connect_async()
        .await
        .unwrap();
    client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    let mut messages = client.messages();
    let tasks: Vec<_> = (0..1000)
        .map(|number: i32| {
            let client = client.clone();
            tokio::spawn(async move {
                client
                    .publish_and_wait("a", number.to_string(), QoS::AtLeastOnce)
                    .await
            })
        })
        .collect();
    let mut numbers = std::collections::BTreeSet::new();
    while numbers.len() < 1000 {
        let message = tokio::time::timeout(TIMEOUT, messages.receive())
            .await
            .unwrap()
            .unwrap();
        numbers.insert(message.text().unwrap().to_owned());
    }
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(client.statistics().delivered, 1000);
}

/// A message is published completely or not at all, and no received message is lost.
#[tokio::test(flavor = "current_thread")]
async fn dropped_futures_lose_nothing() {
    let broker = TestBroker::start();
    let client = builder(&broker)
        .outgoing_queue(1, usize::MAX)
        .connect_async()
        .await
        .unwrap();
    client.subscribe("a", QoS::AtLeastOnce).await.unwrap();
    let mut messages = client.messages();
    let mut published = Vec::new();
    for number in 0..200 {
        // Sometimes the queue is full, and the future is dropped.
        let publish = client.publish("a", number.to_string(), QoS::AtLeastOnce);
        if let Some(token) = poll_once(publish).await {
            published.push((number, token.unwrap()));
        }
        // The stream is polled and dropped, as a branch of `select!` that is not chosen.
        if number % 7 == 0 {
            let acknowledged = published.last().unwrap().1.acknowledged();
            let _ = poll_once(acknowledged).await;
            tokio::task::yield_now().await;
        }
    }
    for (number, token) in published {
        tokio::time::timeout(TIMEOUT, token.acknowledged())
            .await
            .unwrap()
            .unwrap();
        let message = loop {
            if let Some(message) = poll_once(messages.receive()).await {
                break message.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        assert_eq!(message.text(), Some(&*number.to_string()));
    }
    let published = client.publish_and_wait("a", "last", QoS::AtLeastOnce);
    published.await.unwrap();
    assert_eq!(messages.receive().await.unwrap().text(), Some("last"));
    client.disconnect(TIMEOUT).await.unwrap();
}

/// A dropped wait for the server does not block, and ends the thread.
#[tokio::test(flavor = "current_thread")]
async fn dropped_connects_and_clients_do_not_block() {
    // The listener accepts connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let builder = Client::builder().host("127.0.0.1", listener.local_addr().unwrap().port());
    let start = Instant::now();
    assert!(poll_once(builder.connect_async()).await.is_none());
    let broker = TestBroker::start();
    let client = connect(&broker).await;
    client.publish("a", "x", QoS::AtLeastOnce).await.unwrap();
    drop(client);
    assert!(start.elapsed() < Duration::from_secs(2));
}

/// Futures wait while the connection is lost, and are woken when it is back.
#[tokio::test(flavor = "current_thread")]
async fn futures_survive_a_lost_connection() {
    let mut broker = TestBroker::start();
    let client = builder(&broker)
        .outgoing_queue(2, usize::MAX)
        .connect_async()
        .await
        .unwrap();
    let mut events = client.events();
    assert!(matches!(
        events.receive().await,
        Some(ClientEvent::Connected { .. })
    ));
    broker.stop();
    assert!(matches!(
        events.receive().await,
        Some(ClientEvent::Disconnected { .. })
    ));
    let result = client.publish("a", "x", QoS::AtMostOnce).await;
    assert!(matches!(result, Err(PublishError::Disconnected { .. })));
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { client.publish_and_wait("a", "x", QoS::ExactlyOnce).await })
        })
        .collect();
    tokio::task::yield_now().await;
    broker.restart();
    for task in tasks {
        tokio::time::timeout(TIMEOUT, task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
    client.disconnect(TIMEOUT).await.unwrap();
    // The stream ends with the client.
    let mut events = pin!(events);
    let next =
        poll_fn(|context| futures_core::Stream::poll_next(Pin::as_mut(&mut events), context));
    let _ = next.await;
    while events.receive().await.is_some() {}
}
