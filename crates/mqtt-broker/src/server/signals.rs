//! The signals with which an administrator controls a running broker: reload, save and dump.
//!
//! The program installs the signal handlers. A handler writes to a pipe, and the loop of the server polls the other end
//! of the pipe. This module reads the pipe empty. The poll reports only changes, so a pipe that was not read empty
//! would not be reported again.

use mio::event::Source;
use mio::{Interest, Registry, Token};
use std::io::{self, Read};

/// A pipe that becomes readable when a signal arrives.
struct SignalSource(Box<dyn Read>);

impl SignalSource {
    /// Reads the pipe empty. Several signals that arrived since the last turn are handled as one.
    fn drain(&mut self) {
        let mut block = [0; 64];
        while matches!(self.0.read(&mut block), Ok(1..)) {}
    }
}

/// The pipes that become readable when a signal arrives.
#[derive(Default)]
pub(super) struct Signals(Vec<(Token, SignalSource)>);

impl Signals {
    /// Polls `source`, whose reads must not block, for the signal of `token`.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub(super) fn add(
        &mut self,
        mut source: impl Source + Read + 'static,
        token: Token,
        registry: &Registry,
    ) -> io::Result<()> {
        registry.register(&mut source, token, Interest::READABLE)?;
        self.0.push((token, SignalSource(Box::new(source))));
        Ok(())
    }

    /// Reads the pipes of this signal empty.
    pub(super) fn drain(&mut self, token: Token) {
        let sources = self.0.iter_mut();
        for (_, source) in sources.filter(|(of_source, _)| *of_source == token) {
            source.drain();
        }
    }
}
