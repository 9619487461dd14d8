//! Sends a request and waits for the response, with Response Topic and Correlation Data of MQTT 5.0.
//!
//! `cargo run --example request_response [URL]`. Without a URL the example starts a broker in this process.

use std::error::Error;
use std::thread;
use std::time::Duration;

use mqtt_client::{Client, Message, MessageProperties, Property, QoS, TopicName};
use mqtt_test_broker::TestBroker;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Answers each request with its payload in upper case.
fn respond(client: &Client) -> Result<(), Box<dyn Error>> {
    for request in client.messages() {
        let Some(topic) = request.response_topic() else {
            continue; // The request wants no response.
        };
        let payload = request.text().unwrap_or_default().to_uppercase();
        let mut response = Message::new(TopicName::new(topic)?, payload);
        if let Some(data) = request.correlation_data() {
            let properties = MessageProperties::new([Property::CorrelationData(data)])?;
            response.properties = Some(Box::new(properties));
        }
        client.publish_message(response, QoS::AtLeastOnce)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let url = std::env::args().nth(1).unwrap_or_else(|| broker.url());

    let responder = Client::builder().url(&url)?.connect()?;
    responder.subscribe("service/capitals", QoS::AtLeastOnce)?;
    let client = responder.clone();
    let thread = thread::spawn(move || respond(&client).map_err(|error| error.to_string()));

    let client = Client::builder().url(&url)?.connect()?;
    let mut responses = client.messages();
    client.subscribe("responses/me", QoS::AtLeastOnce)?;
    let mut request = Message::new(TopicName::new("service/capitals")?, "hello");
    request.properties = Some(Box::new(MessageProperties::new([
        Property::ResponseTopic("responses/me"),
        Property::CorrelationData(b"1"),
    ])?));
    client.publish_message(request, QoS::AtLeastOnce)?;
    let response = responses.receive(TIMEOUT)?.ok_or("no response")?;
    assert_eq!(response.correlation_data(), Some(&b"1"[..]));
    println!("{:?}", response.payload);

    responder.disconnect(TIMEOUT)?;
    thread.join().expect("the responder does not panic")?;
    client.disconnect(TIMEOUT)?;
    Ok(())
}
