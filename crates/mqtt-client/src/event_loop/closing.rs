//! The end of a connection: the client writes its last bytes, and the server closes the stream.

use std::io;
use std::time::{Duration, Instant};

use mqtt_session::CloseReason;
use mqtt_transport::{ReadStatus, Stream};

use super::poller::Poller;
use super::server_stream::ServerStream;
use crate::core::ClientCore;
use crate::dialer::Dialer;
use crate::error::ClientError;

/// Maximum silence of the server after DISCONNECT. The client then closes the socket.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Writes the output and closes the stream; see [`EventLoop::disconnect`](super::EventLoop::disconnect).
pub(super) fn close(
    core: &mut ClientCore,
    stream: &mut ServerStream,
    poller: &mut Poller,
    timeout: Duration,
) -> Result<(), ClientError> {
    let result = drain(core, stream, poller, timeout);
    if let Dialer::Connected(mut socket) = std::mem::replace(&mut stream.dialer, Dialer::Ended) {
        // Unread bytes are unlikely if the server sends no messages. The client then does not wait, so that a program
        // that publishes one message ends without delay.
        if !core.expects_messages() {
            // The connection ends even if `say_goodbye` fails. The closing messages of the layers only show the server
            // that no data was cut off.
            let _ = socket.say_goodbye();
        } else if socket.shut_down_writing().is_ok() {
            await_close(&mut socket, stream, poller, timeout);
        }
    }
    result
}

/// Writes all waiting bytes. Returns an error if the socket accepts no byte for `timeout`.
fn drain(
    core: &mut ClientCore,
    stream: &mut ServerStream,
    poller: &mut Poller,
    timeout: Duration,
) -> Result<(), ClientError> {
    // Each accepted byte moves the deadline, so that a slow link may take as long as it needs.
    let mut deadline = Instant::now() + timeout;
    let mut unwritten = stream.unwritten(core);
    loop {
        stream.write(core);
        let left = stream.unwritten(core);
        if left == 0 {
            return Ok(());
        }
        if stream.is_unwritable() {
            return Err(ClientError::Closed(CloseReason::ConnectionLost));
        }
        let now = Instant::now();
        if left < unwritten {
            deadline = now + timeout;
            unwritten = left;
        }
        if now >= deadline {
            return Err(ClientError::Io(io::ErrorKind::TimedOut.into()));
        }
        poller.wait(stream, Some(deadline - now))?;
    }
}

/// Reads and discards the bytes that the server still sends, until the server closes the connection. Closing a socket
/// with unread bytes resets the connection. The server would then lose the last acknowledgements and DISCONNECT,
/// publish the will, and resend messages.
fn await_close(
    socket: &mut Stream,
    stream: &mut ServerStream,
    poller: &mut Poller,
    timeout: Duration,
) {
    let end = Instant::now() + timeout;
    let mut silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
    while Instant::now() < silent_until {
        stream.buffer.clear();
        let wait = match stream.buffer.fill(socket) {
            Ok(ReadStatus::Closed) | Err(_) => return,
            Ok(ReadStatus::More) => Duration::ZERO,
            Ok(ReadStatus::Drained) => silent_until.saturating_duration_since(Instant::now()),
        };
        if !stream.buffer.is_empty() {
            silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
        }
        if poller.wait(stream, Some(wait)).is_err() {
            return;
        }
    }
}
