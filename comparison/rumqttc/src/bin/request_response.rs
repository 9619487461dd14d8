//! Sends a request, which a second client answers, and prints the response.

use std::error::Error;
use std::sync::mpsc::{self, Sender};
use std::thread;

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use rumqttc::v5::{Client, Event, Incoming, MqttOptions};

fn respond(port: u16, subscribed: &Sender<()>) -> Result<(), Box<dyn Error + Send + Sync>> {
    let options = MqttOptions::new("responder", "localhost", port);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("service", QoS::AtLeastOnce)?;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Incoming::SubAck(_)) => subscribed.send(())?,
            Event::Incoming(Incoming::Publish(request)) => {
                let properties = request.properties.unwrap_or_default();
                let Some(topic) = properties.response_topic else {
                    continue;
                };
                let payload = std::str::from_utf8(&request.payload).unwrap_or_default();
                let of_response = PublishProperties {
                    correlation_data: properties.correlation_data,
                    ..Default::default()
                };
                client.publish_with_properties(
                    topic,
                    QoS::AtLeastOnce,
                    false,
                    payload.to_uppercase(),
                    of_response,
                )?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let port = std::env::args().nth(1).ok_or("expected a port")?.parse()?;
    let (sender, subscribed) = mpsc::channel();
    thread::spawn(move || respond(port, &sender));
    subscribed.recv()?;

    let options = MqttOptions::new("requester", "localhost", port);
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("responses/me", QoS::AtLeastOnce)?;
    for event in connection.iter() {
        match event? {
            Event::Incoming(Incoming::SubAck(_)) => {
                let properties = PublishProperties {
                    response_topic: Some("responses/me".into()),
                    correlation_data: Some("1".into()),
                    ..Default::default()
                };
                client.publish_with_properties(
                    "service",
                    QoS::AtLeastOnce,
                    false,
                    "hello",
                    properties,
                )?;
            }
            Event::Incoming(Incoming::Publish(response)) => {
                let properties = response.properties.unwrap_or_default();
                assert_eq!(properties.correlation_data, Some("1".into()));
                println!("{:?}", response.payload);
                break;
            }
            _ => {}
        }
    }
    Ok(())
}
