//! The signals with which an administrator controls a running broker: reload, save and dump.
//!
//! The program installs the signal handlers. A handler writes to a pipe, and the loop of the server polls the other end
//! of the pipe. This module reads the pipe empty and does what the signal requests. The poll reports only changes, so a
//! pipe that was not read empty would not be reported again.

use std::io::{self, Read};

use mio::event::Source;
use mio::{Interest, Token};
use mqtt_broker_core::EVENTS;

use super::{DUMP, RELOAD, Report, SAVE, Server};
use crate::BrokerConfig;

/// A pipe that becomes readable when a signal arrives.
pub(super) struct SignalSource(Box<dyn Read>);

impl SignalSource {
    /// Reads the pipe empty. Several signals that arrived since the last turn are handled as one.
    fn drain(&mut self) {
        let mut block = [0; 64];
        while matches!(self.0.read(&mut block), Ok(1..)) {}
    }
}

impl Server {
    /// Makes the server read its configuration again, with `reader`, when `source` is readable. Reads of `source` must
    /// not block.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn reload_on(
        &mut self,
        source: impl Source + Read + 'static,
        reader: impl FnMut() -> Result<BrokerConfig, String> + 'static,
    ) -> io::Result<()> {
        self.reader = Some(Box::new(reader));
        self.act_on(source, RELOAD)
    }

    /// Makes the server sync its store when `source` is readable, regardless of the sync policy. Reads of `source` must
    /// not block.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn save_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.act_on(source, SAVE)
    }

    /// Makes the server log its subscriptions and retained messages when `source` is readable. Reads of `source` must
    /// not block.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn dump_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.act_on(source, DUMP)
    }

    /// Polls `source`, and handles the signal of `token` when it is readable.
    fn act_on(&mut self, mut source: impl Source + Read + 'static, token: Token) -> io::Result<()> {
        let registry = self.poll.registry();
        registry.register(&mut source, token, Interest::READABLE)?;
        self.signals.push((token, SignalSource(Box::new(source))));
        Ok(())
    }

    /// Handles the signal of `token`.
    pub(super) fn handle_signal(&mut self, token: Token) {
        let sources = self.signals.iter_mut();
        for (_, source) in sources.filter(|(of_source, _)| *of_source == token) {
            source.drain();
        }
        match token {
            RELOAD => {
                self.report(Report::Reloading);
                self.reserve.release();
                self.reload();
                self.report(Report::Ready);
                let _ = self.reserve.fill(); // after a failure, `accept` tries again
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
