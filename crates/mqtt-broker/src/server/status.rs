//! The status socket, a Unix socket for `rbroker status`. The server writes a line `NAME TAB VALUE` for each value to a
//! program that connects, and closes the stream. It reads nothing from the program.

use super::acceptor::Acceptor;
use super::commits::Commits;
use super::sockets::state::Sockets;
use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use mqtt_broker_core::{Broker, EVENTS};
use mqtt_transport::{reason, remove_stale_socket};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Maximum number of programs that are answered in one turn.
const MAXIMUM_ANSWERS: usize = 8;

/// The listening socket. Its path is removed when this value is dropped.
#[derive(Debug)]
pub(crate) struct StatusSocket {
    listener: UnixListener,
    path: PathBuf,
    /// Set if more programs may have connected than were answered. The poll does not report them again.
    may_have_questions: bool,
}

impl StatusSocket {
    /// Binds the socket and sets its mode to 0600, so that only the user of the broker can connect.
    ///
    /// # Errors
    /// Returns an error if the path cannot be used, for example because another broker answers at it.
    pub(super) fn bind(path: &Path, registry: &Registry, token: Token) -> io::Result<Self> {
        // After a crash the path still exists and would make the bind fail.
        remove_stale_socket(path)?;
        let mut listener = UnixListener::bind(path)?;
        // The status contains client identifiers, which other users of the machine must not see.
        let mine = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, mine)?;
        registry.register(&mut listener, token, Interest::READABLE)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            may_have_questions: false,
        })
    }

    /// Returns `true` if more programs may have connected than were answered.
    pub(super) fn may_have_questions(&self) -> bool {
        self.may_have_questions
    }

    /// Writes the text to each program that has connected.
    pub(super) fn answer(&mut self, mut text: impl FnMut() -> String) {
        self.may_have_questions = false;
        for _ in 0..MAXIMUM_ANSWERS {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                // The program has closed its socket already. Another program may still wait for an answer.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                // No program waits, or the system lacks resources to accept one. In the second case another attempt in
                // the next turn would fail too and keep the processor busy.
                Err(_) => return,
            };
            // The text fits into the empty send buffer of the socket. A longer text would make the write fail, because
            // the stream does not block.
            if let Err(error) = stream.write_all(text().as_bytes()) {
                log::debug!(target: EVENTS, "Cannot answer 'rbroker status': {}.", reason(&error));
            }
        }
        self.may_have_questions = true;
    }
}

impl Drop for StatusSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns the lines of the status: the values that the broker core reports, and those that only the process around it
/// knows.
pub(super) fn status_text(
    broker: &mut Broker,
    sockets: &Sockets,
    commits: &Commits,
    acceptor: &Acceptor,
    now: Instant,
) -> String {
    let mut text = format!("process\t{}\n", std::process::id());
    for value in broker.statistics(now) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "{}\t{}", value.name, value.text);
    }
    let unread = sockets.table.unread_bytes();
    let _ = writeln!(text, "packet/in/bytes\t{unread}");
    if let Some(size) = commits.file_size() {
        let _ = writeln!(text, "store/file/bytes\t{size}");
    }
    for bound in &acceptor.listeners {
        let _ = writeln!(text, "listener\t{}", bound.name);
    }
    if let Some((client, count)) = broker.longest_queue() {
        let client = mqtt_session::Printable(client);
        let _ = writeln!(text, "queues/longest/client\t{client}");
        let _ = writeln!(text, "queues/longest/count\t{count}");
    }
    text
}
