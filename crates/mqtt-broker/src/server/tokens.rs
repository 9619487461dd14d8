//! The tokens of event sources that are neither a listener nor a socket. Listeners and sockets have the tokens from 0
//! up, so these begin at the other end.

use mio::Token;

/// A signal requests the end of the server.
pub(crate) const STOP: Token = Token(usize::MAX - 1);

/// A signal requests a reload of the configuration.
pub(crate) const RELOAD: Token = Token(usize::MAX - 2);

/// A thread has finished its work: a password was checked, or a commit was made.
pub(crate) const DONE: Token = Token(usize::MAX - 3);

/// `rbroker status` has connected to the status socket.
#[cfg(unix)]
pub(crate) const STATUS: Token = Token(usize::MAX - 4);

/// A signal requests a commit of the store.
pub(crate) const SAVE: Token = Token(usize::MAX - 5);

/// A signal requests a dump of subscriptions and retained messages into the log.
pub(crate) const DUMP: Token = Token(usize::MAX - 6);
