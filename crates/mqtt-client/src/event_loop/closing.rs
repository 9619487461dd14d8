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

/// Time between two reads while the client waits for the server to close the connection.
const READ_INTERVAL: Duration = Duration::from_millis(5);

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
    // The server may still answer each acknowledgement of a long session (PUBREL to PUBREC). No answer matters any more,
    // so they need not wake the client one by one.
    let is_woken_by_input = poller.ignore_input(socket).is_err();
    while Instant::now() < silent_until {
        stream.buffer.clear();
        let wait = match stream.buffer.fill(socket) {
            Ok(ReadStatus::Closed) | Err(_) => return,
            Ok(ReadStatus::More) => Duration::ZERO,
            Ok(ReadStatus::Drained) => {
                let left = silent_until.saturating_duration_since(Instant::now());
                if is_woken_by_input {
                    left
                } else {
                    // The server may need room in the socket before it reads DISCONNECT.
                    left.min(READ_INTERVAL)
                }
            }
        };
        if !stream.buffer.is_empty() {
            silent_until = end.min(Instant::now() + CLOSE_TIMEOUT);
        }
        if poller.wait(stream, Some(wait)).is_err() {
            return;
        }
    }
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::event_loop::server_stream::STREAM;

    #[test]
    fn only_the_end_of_the_connection_wakes_a_closing_client() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("server.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let mut poller = Poller::new().unwrap();
        let mut socket = Stream::connect_unix(&path, poller.registry(), STREAM).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut stream = ServerStream::new(Instant::now());
        socket.shut_down_writing().unwrap();
        assert_eq!(peer.read(&mut [0]).unwrap(), 0);
        poller.ignore_input(&mut socket).unwrap();
        peer.write_all(b"PUBREL").unwrap();
        // A Unix socket has received the bytes when the write returns, so their event would be there.
        poller.wait(&mut stream, Some(Duration::ZERO)).unwrap();
        assert!(!stream.is_readable());
        drop(peer);
        let patience = Some(Duration::from_secs(20));
        poller.wait(&mut stream, patience).unwrap();
        assert!(stream.has_hung_up());
    }
}
