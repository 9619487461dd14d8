//! The log of the broker: which lines, with what time, and where to.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Zoned;
use jiff::fmt::strtime;
use log::{Level, LevelFilter, Log, Metadata, Record};
use mqtt_broker::{CONNECTIONS, LogDestination, LogSettings, LogTypes};
use mqtt_session::PrintableLines;

use super::files;
use crate::logger::print_error;
use crate::sink::{Sink, Stream};

/// Times that people and programs read.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S";

/// `daemon` of syslog; local0 is 16.
const FACILITY: u8 = 3;

/// What of the command line is about the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loudness {
    /// As the configuration says.
    Configured,
    Quiet,
    Verbose,
}

#[derive(Debug)]
struct BrokerLog {
    destinations: Vec<Destination>,
    types: LogTypes,
    connections: bool,
    timestamp: Option<String>,
}

#[derive(Debug)]
enum Destination {
    StandardError,
    Lines(Sink),
    #[cfg(unix)]
    Syslog(std::os::unix::net::UnixDatagram, u8),
}

/// The files of the log, which are opened after the others: as the user who serves.
#[derive(Debug, Default)]
pub(super) struct LogFiles {
    sinks: Vec<(PathBuf, Sink)>,
    reopener: Reopener,
}

impl LogFiles {
    /// Opens them; lines have waited for that.
    ///
    /// # Errors
    /// If one of them cannot be opened.
    pub(super) fn open(self) -> anyhow::Result<Reopener> {
        for (path, sink) in self.sinks {
            let file = LogFile::open(path.clone(), self.reopener.clone()).map_err(|error| {
                anyhow::anyhow!("Cannot write the log file '{}': {error}", path.display())
            })?;
            sink.open(Stream::Other(Box::new(file)));
        }
        Ok(self.reopener)
    }
}

/// Opens its file again, which somebody may have moved away.
#[derive(Debug, Clone, Default)]
pub(super) struct Reopener(Arc<AtomicUsize>);

impl Reopener {
    pub(super) fn reopen(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the log.
///
/// # Errors
/// If a destination cannot be opened.
pub(super) fn start(settings: &LogSettings, loudness: Loudness) -> anyhow::Result<LogFiles> {
    let mut files = LogFiles::default();
    let mut destinations = Vec::new();
    for destination in &settings.destinations {
        destinations.extend(Destination::open(
            destination,
            settings.facility,
            &mut files,
        )?);
    }
    if settings.destinations.is_empty() {
        destinations.push(Destination::StandardError);
    }
    let chatty = LogTypes {
        error: true,
        warning: true,
        information: true,
        debug: loudness == Loudness::Verbose,
    };
    let types = match loudness {
        Loudness::Configured => settings.types.unwrap_or(chatty),
        Loudness::Verbose => chatty,
        Loudness::Quiet => LogTypes {
            error: false,
            warning: false,
            information: false,
            debug: false,
        },
    };
    let format = settings.timestamp_format.clone();
    let log = BrokerLog {
        destinations,
        types,
        connections: settings.connections,
        timestamp: settings
            .timestamp
            .then(|| format.unwrap_or_else(|| TIMESTAMP.to_owned())),
    };
    let level = log.level();
    // Fails only if there is one already, in tests: its lines are as good.
    if log::set_logger(Box::leak(Box::new(log))).is_ok() {
        log::set_max_level(level);
    }
    Ok(files)
}

impl Destination {
    fn open(
        destination: &LogDestination,
        facility: Option<u8>,
        files: &mut LogFiles,
    ) -> anyhow::Result<Option<Self>> {
        Ok(Some(match destination {
            LogDestination::None => return Ok(None),
            LogDestination::StandardError => Self::StandardError,
            LogDestination::StandardOutput => Self::Lines(Sink::start(Stream::StandardOutput)),
            // What root has opened for the broker, its user may write and not open again.
            LogDestination::File(path) if path == Path::new("/dev/stdout") => {
                Self::Lines(Sink::start(Stream::StandardOutput))
            }
            LogDestination::File(path) if path == Path::new("/dev/stderr") => Self::StandardError,
            LogDestination::File(path) => {
                let sink = Sink::waiting();
                files.sinks.push((path.clone(), sink.clone()));
                Self::Lines(sink)
            }
            #[cfg(unix)]
            LogDestination::Syslog => {
                let socket = std::os::unix::net::UnixDatagram::unbound()?;
                socket.set_nonblocking(true)?; // lines that it does not take are lost, not waited for
                socket.connect("/dev/log").map_err(|error| {
                    anyhow::anyhow!("Cannot reach the system's log at /dev/log: {error}")
                })?;
                Self::Syslog(socket, facility.map_or(FACILITY, |local| 16 + local))
            }
            #[cfg(not(unix))]
            LogDestination::Syslog => anyhow::bail!("There is no syslog on this system"),
        }))
    }
}

impl BrokerLog {
    fn level(&self) -> LevelFilter {
        let LogTypes {
            error,
            warning,
            information,
            debug,
        } = self.types;
        match () {
            () if debug => LevelFilter::Debug,
            () if information => LevelFilter::Info,
            () if warning => LevelFilter::Warn,
            () if error => LevelFilter::Error,
            () => LevelFilter::Off,
        }
    }

    fn prefix(&self) -> String {
        let format = self.timestamp.as_deref();
        let time = format.and_then(|format| strtime::format(format, &Zoned::now()).ok());
        time.map_or_else(String::new, |time| time + ": ")
    }
}

impl Log for BrokerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let is_wanted = match metadata.level() {
            Level::Error => self.types.error,
            Level::Warn => self.types.warning,
            Level::Info => self.types.information,
            Level::Debug | Level::Trace => self.types.debug,
        };
        let target = metadata.target();
        is_wanted && target.starts_with("mqtt") && (self.connections || target != CONNECTIONS)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Texts of clients are escaped where they are inserted; this is the line behind that one.
        let text = record.args().to_string();
        let text = PrintableLines(&text);
        let line = format!("{}{text}\n", self.prefix());
        for destination in &self.destinations {
            match destination {
                Destination::StandardError => print_error(&line),
                Destination::Lines(sink) => sink.push(&line),
                #[cfg(unix)]
                Destination::Syslog(socket, facility) => {
                    let severity = match record.level() {
                        Level::Error => 3,
                        Level::Warn => 4,
                        Level::Info => 6,
                        Level::Debug | Level::Trace => 7,
                    };
                    // RFC 3164; the system adds the time.
                    let priority = facility * 8 + severity;
                    let line = format!("<{priority}>rbroker[{}]: {text}", std::process::id());
                    let _ = socket.send(line.as_bytes());
                }
            }
        }
    }

    fn flush(&self) {
        for destination in &self.destinations {
            if let Destination::Lines(sink) = destination {
                sink.flush();
            }
        }
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    /// Opens the file again when clients have taken all other descriptors.
    reserve: Option<File>,
    reopener: Reopener,
    /// Numbers of requests to open the file again, and of those that were served.
    reopened: usize,
}

impl LogFile {
    fn open(path: PathBuf, reopener: Reopener) -> io::Result<Self> {
        let file = files::open_log(&path)?;
        Ok(Self {
            path,
            reserve: file.try_clone().ok(),
            file,
            reopened: reopener.0.load(Ordering::Relaxed),
            reopener,
        })
    }

    /// If that fails, the old file is better than none, and the next line tries again.
    fn reopen(&mut self) {
        let asked = self.reopener.0.load(Ordering::Relaxed);
        if asked == self.reopened {
            return;
        }
        let opened = files::open_log(&self.path).or_else(|error| {
            match self.reserve.take() {
                Some(reserve) => drop(reserve),
                None => return Err(error),
            }
            files::open_log(&self.path)
        });
        if let Ok(file) = opened {
            self.file = file;
            self.reopened = asked;
        }
        // The old file is closed now, so that there is room for one.
        self.reserve = self.file.try_clone().ok();
    }
}

impl Write for LogFile {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.reopen();
        self.file.write(text)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
