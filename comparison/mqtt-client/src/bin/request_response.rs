//! Sends a request, which a second client answers, and prints the response.

use std::error::Error;
use std::thread;
use std::time::Duration;

use mqtt_client::{Client, Message, MessageProperties, Property, QoS, TopicName};

fn respond(client: &Client) -> Result<(), Box<dyn Error + Send + Sync>> {
    for request in client.messages() {
        let Some(topic) = request.response_topic() else {
            continue;
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
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let responder = Client::builder().host("localhost", port).connect()?;
    responder.subscribe("service", QoS::AtLeastOnce)?;
    thread::spawn(move || respond(&responder));

    let client = Client::builder().host("localhost", port).connect()?;
    client.subscribe("responses/me", QoS::AtLeastOnce)?;
    let mut request = Message::new(TopicName::new("service")?, "hello");
    request.properties = Some(Box::new(MessageProperties::new([
        Property::ResponseTopic("responses/me"),
        Property::CorrelationData(b"1"),
    ])?));
    client.publish_message(request, QoS::AtLeastOnce)?;
    let response = client.messages().receive(Duration::from_secs(10))?;
    let response = response.ok_or("no response")?;
    assert_eq!(response.correlation_data(), Some(&b"1"[..]));
    println!("{:?}", response.payload);
    Ok(())
}
