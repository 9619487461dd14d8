//! The settings that the program makes at a [`Server`] before it runs, and the values that the program reads from it.

use super::event_loop::Server;
use super::log_feed::LogFeed;
use super::memory::MemoryGauge;
#[cfg(unix)]
use super::status::StatusSocket;
use super::supervision::Report;
#[cfg(unix)]
use super::tokens::STATUS;
use super::tokens::{DUMP, RELOAD, SAVE, STOP};
use crate::config::model::BrokerConfig;
use crate::config::model::ListenerConfig;
use mio::Interest;
use mio::event::Source;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

impl Server {
    /// Sets the observer, which is called for each packet of the connections that are opened from now on.
    pub fn observe(&mut self, observer: mqtt_session::Observer) {
        self.broker.observe(observer);
    }

    /// Makes `run` end when `source` is readable.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn stop_on(&mut self, source: &mut impl Source) -> io::Result<()> {
        self.poll
            .registry()
            .register(source, STOP, Interest::READABLE)
    }

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
        self.signals.add(source, RELOAD, self.poll.registry())
    }

    /// Makes the server sync its store when `source` is readable, regardless of the sync policy. Reads of `source` must
    /// not block.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn save_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.signals.add(source, SAVE, self.poll.registry())
    }

    /// Makes the server log its subscriptions and retained messages when `source` is readable. Reads of `source` must
    /// not block.
    ///
    /// # Errors
    /// Returns an error if the source cannot be polled.
    pub fn dump_on(&mut self, source: impl Source + Read + 'static) -> io::Result<()> {
        self.signals.add(source, DUMP, self.poll.registry())
    }

    /// Makes the server answer programs that connect to a Unix socket at this path. The socket has mode 0600, so that
    /// only the user of the broker can connect.
    ///
    /// # Errors
    /// Returns an error if the path cannot be used, for example because another broker answers at it.
    #[cfg(unix)]
    pub fn answer_status(&mut self, path: &Path) -> io::Result<()> {
        let socket = StatusSocket::bind(path, self.poll.registry(), STATUS)?;
        self.reports.status = Some(socket);
        Ok(())
    }

    /// Makes the server publish the lines of this feed.
    pub fn publish_log(&mut self, feed: LogFeed) {
        self.reports.log_feed = Some(feed);
    }

    /// Makes the server call `send` for each report: before and after a reload, at the end, and [`Report::Alive`] once
    /// per `interval`. `None` as interval turns [`Report::Alive`] off.
    pub fn report_to(&mut self, interval: Option<Duration>, send: impl FnMut(Report) + 'static) {
        self.reports.supervision.report_to(interval, send);
    }

    /// Sets the function that measures the memory of the process. If `memory_limit` is set, the server calls the
    /// function once in each turn and after every 256 KiB that were read.
    pub fn measure_memory_with(&mut self, gauge: MemoryGauge) {
        self.memory.measure_with(gauge);
    }

    /// Returns the size of the store in bytes and `max_store_bytes`, if there is such a limit. The size does not
    /// include the part of the file that was never written. Returns `None` without a store.
    pub fn store_size(&self) -> Option<(u64, Option<u64>)> {
        let limit = self.broker.limits().maximum_store_bytes;
        let limit = (limit < u64::MAX).then_some(limit);
        self.commits.store_size().map(|size| (size, limit))
    }

    /// Returns the socket addresses of the listeners, without Unix sockets.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let listeners = self.acceptor.listeners.iter();
        listeners.filter_map(|listener| listener.address)
    }

    /// Returns the paths of the Unix sockets at which clients connect.
    pub fn unix_sockets(&self) -> impl Iterator<Item = &Path> {
        let listeners = self.acceptor.listeners.iter();
        let config = listeners.filter_map(|bound| bound.config.as_ref());
        config.filter_map(ListenerConfig::unix_path)
    }
}
