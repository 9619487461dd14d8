//! The status socket for `rbroker status`: a program that connects gets one line for each value, `NAME TAB VALUE`, and
//! the end of the stream. Nothing is read from it.

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

/// Maximum number of questions that are answered in one turn.
const MAXIMUM_ANSWERS: usize = 8;

/// The socket; removed at the end.
#[derive(Debug)]
pub(crate) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl StatusSocket {
    pub(super) fn bind(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        // A socket that a crash has left would prevent the bind.
        let is_socket = std::fs::metadata(path).is_ok_and(|data| data.file_type().is_socket());
        if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
            std::fs::remove_file(path)?;
        }
        let mut listener = UnixListener::bind(path)?;
        let mine = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mine)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Accepts the next question. An error concerns only the program that asks.
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
    /// Answers programs that connect to this path with the status of the broker. Only the user of the broker can
    /// connect.
    ///
    /// # Errors
    /// If the path cannot be used, for instance because another broker answers there.
    pub fn answer_status(&mut self, path: &Path) -> io::Result<()> {
        let socket = StatusSocket::bind(path, self.poll.registry(), super::STATUS)?;
        self.status = Some(socket);
        Ok(())
    }

    /// Answers the questions that wait.
    pub(super) fn tell_status(&mut self, now: Instant) {
        self.reserve.release();
        self.answer_questions(now);
        let _ = self.reserve.fill(); // else before the next connection is accepted
    }

    fn answer_questions(&mut self, now: Instant) {
        for _ in 0..MAXIMUM_ANSWERS {
            let Some(mut stream) = self.status.as_ref().and_then(StatusSocket::accept) else {
                return;
            };
            let text = self.status_text(now);
            // The text fits into the buffer of the socket. A program that does not accept it wants no answer.
            if let Err(error) = stream.write_all(text.as_bytes()) {
                log::debug!(target: EVENTS, "Cannot answer 'rbroker status': {}.", reason(&error));
            }
        }
        self.status_is_waiting = true; // more questions may wait
    }

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
