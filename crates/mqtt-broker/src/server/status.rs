//! The status socket, a Unix socket for `rbroker status`. The server writes one line for each value to a program that
//! connects, as `NAME TAB VALUE`, and closes the stream. It reads nothing from the program.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use mio::net::{UnixListener, UnixStream};
use mio::{Interest, Registry, Token};
use mqtt_broker_core::EVENTS;
use mqtt_transport::reason;

use super::{CommitQueue, Server};

/// Maximum number of programs that are answered in one turn.
const MAXIMUM_ANSWERS: usize = 8;

/// The listening socket. Its path is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    pub(super) fn bind(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        // After a crash the path still exists and would make the bind fail. If nobody answers at it, it is removed.
        let is_socket = std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let mut listener = UnixListener::bind(path)?;
        // The status has client identifiers, which other users of the machine must not see.
        let mine = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mine)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Accepts the next program. An error concerns only that program, so it is ignored.
    fn accept(&self) -> Option<UnixStream> {
        self.listener.accept().ok().map(|(stream, _)| stream)
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Server {
    /// Makes the server answer programs that connect to a Unix socket at this path. The socket has mode 0600, so that
    /// only the user of the broker can connect.
    ///
    /// # Errors
    /// Returns an error if the path cannot be used, for example because another broker answers at it.
    pub fn answer_status(&mut self, path: &Path) -> io::Result<()> {
        let socket = StatusSocket::bind(path, self.poll.registry(), super::STATUS)?;
        self.status = Some(socket);
        Ok(())
    }

    /// Answers the programs that have connected. Their sockets use descriptors of the reserve, so that `rbroker status`
    /// works when clients have taken all others.
    pub(super) fn tell_status(&mut self, now: Instant) {
        self.reserve.release();
        self.answer_questions(now);
        let _ = self.reserve.fill(); // after a failure, `accept` tries again
    }

    fn answer_questions(&mut self, now: Instant) {
        for _ in 0..MAXIMUM_ANSWERS {
            let Some(mut stream) = self.status.as_ref().and_then(StatusSocket::accept) else {
                return;
            };
            let text = self.status_text(now);
            // The text fits into the buffer of the socket, so the write does not block.
            if let Err(error) = stream.write_all(text.as_bytes()) {
                log::debug!(target: EVENTS, "Cannot answer 'rbroker status': {}.", reason(&error));
            }
        }
        self.status_is_waiting = true; // more programs may have connected; the poll does not report them again
    }

    /// Returns the lines of the status: the values of the broker, and those that only the process has.
    fn status_text(&mut self, now: Instant) -> String {
        let mut text = format!("process\t{}\n", std::process::id());
        for value in self.broker.statistics(now) {
            let _ = writeln!(text, "{}\t{}", value.name, value.text);
        }
        let _ = writeln!(text, "packet/in/bytes\t{}", self.sockets.unread_bytes());
        if let Some(size) = self.commit_queue.as_ref().and_then(CommitQueue::file_size) {
            let _ = writeln!(text, "store/file/bytes\t{size}");
        }
        for bound in &self.listeners {
            let _ = writeln!(text, "listener\t{}", bound.name);
        }
        if let Some((client, count)) = self.broker.longest_queue() {
            let client = mqtt_session::Printable(client);
            let _ = writeln!(text, "queues/longest/client\t{client}");
            let _ = writeln!(text, "queues/longest/count\t{count}");
        }
        text
    }
}
