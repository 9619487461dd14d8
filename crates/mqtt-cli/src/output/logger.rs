//! Where the lines of `-d` and of `--trace` go. The broker's log is in `commands/rbroker/log.rs`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use mqtt_client::session::PrintableLines;

use crate::output::log_thread::{LogThread, Stream};
use crate::output::standard_streams::is_colorful;

/// While so much waits for the program to take it, further lines are dropped.
const MAXIMUM_PENDING: usize = 1024 * 1024;

/// The lines on standard error; all of them, so that their order stays.
static ERRORS: OnceLock<LogThread> = OnceLock::new();

/// Lines that a program prints between its messages.
static PENDING: Mutex<Vec<u8>> = Mutex::new(Vec::new());

#[derive(Debug)]
struct Logger {
    destination: Destination,
    dim: bool,
}

#[derive(Debug)]
enum Destination {
    StandardError,
    StandardOutput(LogThread),
    /// The program writes standard output itself.
    Pending,
}

/// Starts to write the lines of `-d`: to standard error, but where mosquitto's tools write them if
/// the program was called by a name of theirs.
pub(crate) fn start_for_publisher(arguments: &[OsString]) {
    start_for_client(arguments, || {
        Destination::StandardOutput(LogThread::start(Stream::StandardOutput))
    });
}

/// The same for a program that prints messages: what goes to standard output comes out of
/// [`take_pending`], so that it stands where it belongs.
pub(crate) fn start_for_subscriber(arguments: &[OsString]) {
    start_for_client(arguments, || Destination::Pending);
}

/// The lines of `-d` that are to be printed before whatever comes next.
pub(crate) fn take_pending(out: &mut Vec<u8>) {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    out.append(&mut pending);
}

/// A line on standard error, with its newline.
pub(crate) fn print_error(line: &str) {
    let sink = ERRORS.get_or_init(|| LogThread::start(Stream::StandardError));
    sink.push(line);
}

/// Waits until the lines are written, for a while.
pub(crate) fn finish() {
    log::logger().flush();
    if let Some(sink) = ERRORS.get() {
        sink.flush();
    }
}

fn start_for_client(arguments: &[OsString], theirs: impl FnOnce() -> Destination) {
    let destination = if crate::program_name::is_called_as_mosquitto(arguments) {
        theirs()
    } else {
        Destination::StandardError
    };
    start(destination, LevelFilter::Debug);
}

fn start(destination: Destination, level: LevelFilter) {
    let is_error = matches!(destination, Destination::StandardError);
    let logger = Logger {
        dim: is_error && std::io::stderr().is_terminal() && is_colorful(),
        destination,
    };
    // Fails only if there is one already, in tests: its lines are as good.
    if log::set_logger(Box::leak(Box::new(logger))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mqtt")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // Texts of the peer's are escaped where they are inserted; this is the line behind that one.
        let text = record.args().to_string();
        let text = PrintableLines(&text);
        let line = if self.dim {
            format!("\x1b[2m{text}\x1b[0m\n")
        } else {
            format!("{text}\n")
        };
        match &self.destination {
            Destination::StandardError => print_error(&line),
            Destination::StandardOutput(sink) => sink.push(&line),
            Destination::Pending => {
                let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
                if pending.len() < MAXIMUM_PENDING {
                    pending.extend_from_slice(line.as_bytes());
                }
            }
        }
    }

    fn flush(&self) {
        if let Destination::StandardOutput(sink) = &self.destination {
            sink.flush();
        }
    }
}
