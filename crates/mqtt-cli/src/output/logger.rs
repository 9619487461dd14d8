//! Writes the lines of `-d` and all other lines on standard error. The log of the broker is in
//! `commands/rbroker/serve/log.rs`.
//!
//! The session logs a line for each packet through the `log` crate. This logger writes these lines to standard error,
//! or to standard output if the program was called by the name of a mosquitto tool.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::sync::{Mutex, OnceLock, PoisonError};

use log::{LevelFilter, Log, Metadata, Record};
use mqtt_client::session::PrintableLines;

use crate::output::log_thread::{LogThread, Stream};
use crate::output::standard_streams::is_colorful;
use crate::program_name::is_called_as_mosquitto;

/// Maximum number of bytes in [`PENDING`]. Further lines are dropped.
const MAXIMUM_PENDING: usize = 1024 * 1024;

/// The queue of lines for standard error. All lines share it, which keeps their order.
static ERRORS: OnceLock<LogThread> = OnceLock::new();

/// Lines of `-d` that the program has to print on standard output between its messages.
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
    /// The lines go to [`PENDING`], and the program prints them to standard output.
    Pending,
}

/// Starts the log of rpub. If the program was called as mosquitto_pub, the lines go to standard output, as those of
/// that tool do.
pub(crate) fn start_for_publisher(arguments: &[OsString]) {
    start_for_client(arguments, || {
        Destination::StandardOutput(LogThread::start(Stream::StandardOutput))
    });
}

/// Starts the log of rsub or rrr. If the program was called as mosquitto_sub or mosquitto_rr, the lines go to standard
/// output through [`take_pending`], because only the program can put them between the right messages.
pub(crate) fn start_for_subscriber(arguments: &[OsString]) {
    start_for_client(arguments, || Destination::Pending);
}

/// Moves the lines of `-d` for standard output to the end of `out`.
pub(crate) fn take_pending(out: &mut Vec<u8>) {
    let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
    out.append(&mut pending);
}

/// Prints a line, which ends with a newline, on standard error.
pub(crate) fn print_error(line: &str) {
    let lines = ERRORS.get_or_init(|| LogThread::start(Stream::StandardError));
    lines.push(line);
}

/// Waits until the lines are written, but for a short time only.
pub(crate) fn finish() {
    log::logger().flush();
    if let Some(lines) = ERRORS.get() {
        lines.flush();
    }
}

fn start_for_client(arguments: &[OsString], theirs: impl FnOnce() -> Destination) {
    let destination = if is_called_as_mosquitto(arguments) {
        theirs()
    } else {
        Destination::StandardError
    };
    start(destination, LevelFilter::Debug);
}

fn start(destination: Destination, level: LevelFilter) {
    // The lines are dimmed on a terminal, so that warnings and errors stand out.
    let is_error = matches!(destination, Destination::StandardError);
    let logger = Logger {
        dim: is_error && std::io::stderr().is_terminal() && is_colorful(),
        destination,
    };
    // `set_logger` fails if a logger is set already, which happens in tests only. The first logger then stays.
    if log::set_logger(Box::leak(Box::new(logger))).is_ok() {
        log::set_max_level(level);
    }
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mqtt")
    }

    fn log(&self, record: &Record<'_>) {
        // Other libraries log too, and their lines would not help a user.
        if !self.enabled(record.metadata()) {
            return;
        }
        // Texts of the peer are escaped where they are inserted. The whole line is escaped again, as a second defence
        // for the terminal.
        let text = record.args().to_string();
        let text = PrintableLines(&text);
        let line = if self.dim {
            format!("\x1b[2m{text}\x1b[0m\n")
        } else {
            format!("{text}\n")
        };
        match &self.destination {
            Destination::StandardError => print_error(&line),
            Destination::StandardOutput(lines) => lines.push(&line),
            Destination::Pending => {
                let mut pending = PENDING.lock().unwrap_or_else(PoisonError::into_inner);
                // The program collects the lines in each turn of its loop, so a full buffer means that the loop is
                // blocked.
                if pending.len() < MAXIMUM_PENDING {
                    pending.extend_from_slice(line.as_bytes());
                }
            }
        }
    }

    fn flush(&self) {
        if let Destination::StandardOutput(lines) = &self.destination {
            lines.flush();
        }
    }
}
