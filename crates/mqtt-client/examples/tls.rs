//! Connects with TLS, user name and password.
//!
//! `cargo run --example tls`. The broker in this process has a certificate that its own authority has signed. For a
//! broker with a public certificate, omit `ca_file`: the client then trusts the authorities of the operating system.

use std::error::Error;
use std::time::Duration;

use mqtt_client::{Client, ConnectError, QoS};
use mqtt_test_broker::TestBroker;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start_with_tls("");
    let builder = || Client::builder().url(&broker.url());

    let client = builder()?
        .user_name("me")
        .password("secret")
        .ca_file(broker.ca_file())
        .connect()?;
    client.publish_and_wait("a", "x", QoS::AtLeastOnce, Duration::from_secs(10))?;
    client.disconnect(Duration::from_secs(10))?;
    println!("published with TLS");

    // Each kind of failure has its own error. Here the client does not trust the authority of the broker.
    match builder()?.connect() {
        Err(error @ ConnectError::Tls { .. }) => println!("{error}"),
        result => panic!("expected an error of TLS: {result:?}"),
    }
    Ok(())
}
