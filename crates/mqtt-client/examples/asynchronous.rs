//! Publishes and receives in tasks of tokio. The futures and streams run in any other runtime, too.
//!
//! `cargo run --features async --example asynchronous [URL]`; without a URL it starts a broker in this process.

use std::error::Error;
use std::time::Duration;

use mqtt_client::{AsyncClient, Client, QoS};
use mqtt_test_broker::TestBroker;

/// Publishes a reading every ten milliseconds until the task is aborted.
async fn publish(client: AsyncClient) -> Result<(), mqtt_client::PublishError> {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        client
            .publish_and_wait("kitchen/temperature", "21.5", QoS::AtLeastOnce)
            .await?;
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let url = std::env::args().nth(1).unwrap_or_else(|| broker.url());
    let client = Client::builder().url(&url)?.connect_async().await?;
    client.subscribe("kitchen/#", QoS::AtLeastOnce).await?;
    let publisher = tokio::spawn(publish(client.clone()));

    let mut messages = client.messages();
    let timer = tokio::time::sleep(Duration::from_secs(1));
    tokio::pin!(timer);
    let mut received = 0;
    while received < 3 {
        // The branch that is not chosen is dropped. No message is lost with it.
        tokio::select! {
            message = messages.receive() => {
                let message = message?;
                println!("{}: {:?}", message.topic_name, message.payload);
                received += 1;
            }
            () = &mut timer => return Err("no message in a second".into()),
        }
    }

    publisher.abort();
    client.disconnect(Duration::from_secs(10)).await?;
    println!("received {received} messages");
    Ok(())
}
