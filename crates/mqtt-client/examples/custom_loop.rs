//! Runs the client in a loop of the application, without the thread and the event loop of the library. [`ClientCore`]
//! does no I/O: the application passes bytes and times to it, and gets bytes and events from it.
//!
//! `cargo run --example custom_loop`

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mqtt_client::session::{Event, OutboundMessage};
use mqtt_client::{ClientCore, Message, Options, QoS, TopicName};
use mqtt_test_broker::TestBroker;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = TestBroker::start();
    let mut core = ClientCore::new(Options::new("127.0.0.1", broker.port()), None);

    // The application owns the socket. This example blocks for a short time; other programs would wait for readiness.
    let mut socket = TcpStream::connect(broker.address())?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    core.begin_attempt(Instant::now());
    core.handle_reached(Instant::now())?;

    let (mut input, mut block) = (Vec::new(), [0; 4096]);
    let (mut is_published, mut is_delivered) = (false, false);
    while !is_delivered {
        // Writes the output of the client.
        let written = socket.write(core.output())?;
        core.consume_output(Instant::now(), written);

        // Reads the bytes of the server and handles whole packets. An incomplete packet stays in the buffer for the
        // next turn.
        match socket.read(&mut block) {
            Ok(0) => core.handle_close(),
            Ok(length) => input.extend_from_slice(&block[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) => return Err(error.into()),
        }
        let mut rest = &input[..];
        let flow = core.handle_input(Instant::now(), &mut rest, &mut |_, event| {
            is_delivered |= matches!(event, Event::Delivered { .. });
            ControlFlow::Continue(())
        });
        let used = input.len() - rest.len();
        input.drain(..used);
        let _ = flow?; // On an error, call `handle_lost`, which returns the wait.

        // Handles the keep alive and other deadlines. `poll_timeout` returns the next deadline.
        core.handle_timeout(Instant::now());

        if core.is_connected() && !is_published {
            let message = Message::new(TopicName::new("a/topic")?, "from a custom loop");
            let outgoing = OutboundMessage::new(Arc::new(message), QoS::AtLeastOnce);
            core.publish(Instant::now(), outgoing)?;
            is_published = true;
        }
    }
    println!("the broker has acknowledged the message");
    Ok(())
}
