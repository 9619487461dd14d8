//! The log of the broker: formats lines with timestamps and sends them to the destinations of the configuration. The
//! texts of the lines are in `mqtt-broker` and `mqtt-broker-core`.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::fmt::strtime;
use log::{Level, LevelFilter, Log, Metadata, Record};
use mqtt_broker::{CONNECTIONS, EVENTS, LogConfig, LogDestination, LogFeed, LogKind, LogTypes};
use mqtt_session::PrintableLines;

use super::files;
use crate::output::format::now;
use crate::output::log_thread::{LogThread, Stream};
use crate::output::logger::print_error;
use crate::wording::system_text;

/// The default timestamp: local time in the form of ISO 8601. mosquitto's default is a number of seconds.
const TIMESTAMP: &str = "%Y-%m-%dT%H:%M:%S";

/// The facility `daemon` of syslog. The facilities local0 to local7 have the numbers 16 to 23.
#[cfg(unix)]
const FACILITY: u8 = 3;

/// The Unix socket of syslog. Each family of systems has its own path.
#[cfg(unix)]
const SYSLOG: &str = if cfg!(target_vendor = "apple") {
    "/var/run/syslog"
} else if cfg!(any(target_os = "freebsd", target_os = "netbsd")) {
    "/var/run/log"
} else {
    "/dev/log"
};

/// The verbosity that the command line asks for with -q or -v.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loudness {
    /// The log types of the configuration file apply.
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
    Lines(LogThread),
    #[cfg(unix)]
    Syslog(std::os::unix::net::UnixDatagram, u8),
    Topic(LogFeed),
}

/// The log files. They are opened after the other destinations, when the broker has switched from root to the
/// configured user. Until then their lines are kept in memory.
#[derive(Debug, Default)]
pub(super) struct LogFiles {
    threads: Vec<(PathBuf, LogThread)>,
    /// Set if some destination is standard error.
    has_standard_error: bool,
    reopener: Reopener,
}

impl LogFiles {
    /// Adds a file, which is opened later.
    fn add(&mut self, path: &Path) -> Destination {
        // These two streams are written through descriptors that root has opened. The configured user may not be
        // permitted to open them again.
        if path == Path::new("/dev/stdout") {
            return Destination::standard_output();
        }
        if path == Path::new("/dev/stderr") {
            return Destination::StandardError;
        }
        let thread = LogThread::waiting();
        self.threads.push((path.to_owned(), thread.clone()));
        Destination::Lines(thread)
    }

    /// Opens the files, and writes the lines that have waited. If a file cannot be opened, its lines go to standard
    /// error, because a full or read-only disk must not prevent the start of the broker.
    pub(super) fn open(mut self) -> Reopener {
        for (path, thread) in std::mem::take(&mut self.threads) {
            let stream = match LogFile::open(path.clone(), self.reopener.clone()) {
                Ok(file) => Stream::Other(Box::new(file)),
                Err(error) => {
                    let (path, reason) = (path.display(), system_text(&error));
                    log::error!(
                        target: EVENTS,
                        "Unable to open log file {path} for writing: {reason}. Its lines go to standard error."
                    );
                    // If standard error gets every line already, a second copy is not written.
                    if std::mem::replace(&mut self.has_standard_error, true) {
                        Stream::Other(Box::new(io::sink()))
                    } else {
                        Stream::StandardError
                    }
                }
            };
            thread.open(stream);
        }
        self.reopener
    }
}

/// The request to open the log files again, after logrotate has renamed them. Each file compares this counter with the
/// value at its last open.
#[derive(Debug, Clone, Default)]
pub(super) struct Reopener(Arc<AtomicUsize>);

impl Reopener {
    pub(super) fn reopen(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the log. Lines for `log_dest topic` go to `feed`.
pub(super) fn start(settings: &LogConfig, loudness: Loudness, feed: &LogFeed) -> LogFiles {
    let mut files = LogFiles::default();
    let mut destinations = Vec::new();
    let mut syslog_error = None;
    for destination in &settings.destinations {
        destinations.extend(match destination {
            LogDestination::None => None,
            LogDestination::StandardError => Some(Destination::StandardError),
            LogDestination::StandardOutput => Some(Destination::standard_output()),
            LogDestination::File(path) => Some(files.add(path)),
            LogDestination::Topic => Some(Destination::Topic(feed.clone())),
            LogDestination::Syslog => match Destination::syslog(settings.facility) {
                Ok(syslog) => Some(syslog),
                Err(error) => {
                    syslog_error = Some(error);
                    None
                }
            },
        });
    }
    let is_standard_error = |destination: &_| matches!(destination, Destination::StandardError);
    files.has_standard_error = destinations.iter().any(is_standard_error);
    // A broker without a log would fail silently, so standard error replaces a missing destination. `log_dest none`
    // counts as a destination.
    let needs_one = settings.destinations.is_empty() || syslog_error.is_some();
    if needs_one && !files.has_standard_error {
        destinations.push(Destination::StandardError);
        files.has_standard_error = true;
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
    // `log_timestamp false` overrides `log_timestamp_format`.
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
    // `set_logger` fails if a logger is set already, which happens in tests only. The first logger then stays.
    if log::set_logger(Box::leak(Box::new(log))).is_ok() {
        log::set_max_level(level);
    }
    if let Some(error) = syslog_error {
        log::warn!(target: EVENTS, "{error}. The log goes to standard error.");
    }
    files
}

impl Destination {
    fn standard_output() -> Self {
        Self::Lines(LogThread::start(Stream::StandardOutput))
    }

    /// Connects to the log of the system.
    ///
    /// # Errors
    /// If the system has no syslog, as in most containers.
    #[cfg(unix)]
    fn syslog(facility: Option<u8>) -> anyhow::Result<Self> {
        let socket = std::os::unix::net::UnixDatagram::unbound()?;
        // A line that syslog does not accept immediately is lost, because the log must not block the broker.
        socket.set_nonblocking(true)?;
        socket.connect(SYSLOG).map_err(|error| {
            let reason = system_text(&error);
            anyhow::anyhow!("Cannot reach the system's log at {SYSLOG}: {reason}")
        })?;
        let facility = facility.map_or(FACILITY, |local| 16 + local);
        Ok(Self::Syslog(socket, facility))
    }

    #[cfg(not(unix))]
    fn syslog(_: Option<u8>) -> anyhow::Result<Self> {
        anyhow::bail!("There is no syslog on this system")
    }
}

impl BrokerLog {
    /// Returns the highest level of the wanted types, so that the `log` crate skips other lines without a call.
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
        let time = format.and_then(|format| strtime::format(format, &now()).ok());
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
        // Names and reasons of clients are escaped where they are inserted. The whole line is escaped again, as a
        // second defence against forged lines.
        let text = record.args().to_string();
        let text = PrintableLines(&text);
        let line = format!("{}{text}\n", self.prefix());
        for destination in &self.destinations {
            match destination {
                Destination::StandardError => print_error(&line),
                Destination::Lines(thread) => thread.push(&line),
                Destination::Topic(feed) => {
                    if let Some(kind) = LogKind::of(record.level(), record.target()) {
                        feed.push(kind, line.trim_end());
                    }
                }
                #[cfg(unix)]
                Destination::Syslog(socket, facility) => {
                    let severity = match record.level() {
                        Level::Error => 3,
                        Level::Warn => 4,
                        Level::Info => 6,
                        Level::Debug | Level::Trace => 7,
                    };
                    // The form of RFC 3164 without timestamp and host name, which syslog adds.
                    let priority = facility * 8 + severity;
                    let line = format!("<{priority}>rbroker[{}]: {text}", std::process::id());
                    let _ = socket.send(line.as_bytes());
                }
            }
        }
    }

    fn flush(&self) {
        for destination in &self.destinations {
            if let Destination::Lines(thread) = destination {
                thread.flush();
            }
        }
    }
}

struct LogFile {
    path: PathBuf,
    file: File,
    /// A spare descriptor. It is closed to free a descriptor for the new file, if connections use all others.
    reserve: Option<File>,
    reopener: Reopener,
    /// The value of `reopener` at the last successful open.
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

    /// Opens the file again if `reopener` asks for it. If the open fails, the old file stays in use, and the next line
    /// tries again.
    fn reopen(&mut self) {
        let asked = self.reopener.0.load(Ordering::Relaxed);
        if asked == self.reopened {
            return;
        }
        // With all descriptors in use, the reserve is given up for the new file.
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
        // If the reopen succeeded, the old file is closed now, which frees a descriptor for the reserve.
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
