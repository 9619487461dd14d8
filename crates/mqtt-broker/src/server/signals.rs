//! The requests of an administrator that come by signal while the broker serves. The sources are pipes that the program
//! fills in its signal handlers; they are emptied here, since a full pipe would never become readable again.

use std::io::{self, Read};

use mio::event::Source;
use mio::{Interest, Token};
use mqtt_broker_core::EVENTS;

use super::{DUMP, RELOAD, SAVE, Server};
use crate::BrokerConfig;

/// A pipe that becomes readable with a signal.
pub(super) struct SignalSource(Box<dyn Read>);

impl SignalSource {
    /// Empties the pipe: signals that came together are one.
    fn drain(&mut self) {
        let mut block = [0; 64];
        while matches!(self.0.read(&mut block), Ok(1..)) {}
    }
}

impl Server {
    /// Makes the server read its configuration again, with `reader`, when `source` is readable. `source` must not
    /// block.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn reload_on(
        &mut self,
        source: impl Source + Read + 'static,
        reader: impl FnMut() -> Result<BrokerConfig, String> + 'static,
    ) -> io::Result<()> {
        self.reader = Some(Box::new(reader));
        self.act_on(source, RELOAD)
    }

    /// Makes the server write its store when `source` is readable, regardless of the interval. `source` must not block.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn save_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.act_on(source, SAVE)
    }

    /// Makes the server log its subscriptions and retained messages when `source` is readable. `source` must not block.
    ///
    /// # Errors
    /// If the source cannot be polled.
    pub fn dump_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.act_on(source, DUMP)
    }

    fn act_on(&mut self, mut source: impl Source + Read + 'static, token: Token) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut source, token, Interest::READABLE)?;
        self.signals.push((token, SignalSource(Box::new(source))));
        Ok(())
    }

    /// Handles a signal.
    pub(super) fn handle_signal(&mut self, token: Token) {
        let sources = self.signals.iter_mut();
        for (_, source) in sources.filter(|(of_source, _)| *of_source == token) {
            source.drain();
        }
        match token {
            RELOAD => {
                self.reserve.release();
                self.reload();
                let _ = self.reserve.fill(); // else before the next connection is accepted
            }
            DUMP => self.broker.begin_dump(),
            SAVE => match &mut self.commit_queue {
                Some(commit_queue) => commit_queue.request_sync(),
                None => {
                    log::info!(target: EVENTS, "Nothing to save: 'persistence true' is not set.")
                }
            },
            _ => {}
        }
    }
}
