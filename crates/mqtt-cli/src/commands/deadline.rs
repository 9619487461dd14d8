//! The deadline of `-W`: the thread that ends the program if its loop cannot.
//!
//! The loops of the programs end at the deadline by themselves. They cannot do so while a call blocks: reading the file or
//! pipe of a message, or looking up a local address. A script that sets a deadline wants it to hold there too, so a thread
//! ends the process shortly after the deadline.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::commands::verdict::Report;
use crate::exit_status::Status;
use crate::failure::Failure;
use crate::output::logger;

/// The time after the deadline in which a loop may write what it has and disconnect.
pub(super) const GRACE: Duration = Duration::from_millis(40);

/// The time after the deadline at which the thread ends the process. The loop has ended before: it needs at most three times
/// [`GRACE`].
const LIMIT: Duration = Duration::from_millis(130);

/// The time for the last lines on standard error and the report. A pipe that nobody reads uses all of it, and so does a
/// busy machine that does not run the thread of the lines. A shorter time would lose the line `Timed out` there.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The value of [`END`] while the program runs. No exit status has this number.
const RUNNING: u8 = u8::MAX;

/// The exit status of a program that has reached its end, so that only one thread reports the end.
static END: AtomicU8 = AtomicU8::new(RUNNING);

/// Starts the thread that ends the process after the deadline.
///
/// # Errors
/// If the system has no room for a thread.
pub(super) fn enforce(
    deadline: Instant,
    quiet: bool,
    report: Option<Arc<Report>>,
) -> std::io::Result<()> {
    let end = move || {
        thread::sleep((deadline + LIMIT).saturating_duration_since(Instant::now()));
        if claim(failure().exit_code()) {
            report_end(quiet, report);
        } else {
            // The main thread is reporting the end, and ends the process when its lines are written.
            thread::park_timeout(LAST_LINES);
        }
        std::process::exit(END.load(Ordering::Relaxed).into());
    };
    thread::Builder::new().name("deadline".into()).spawn(end)?;
    Ok(())
}

/// Reports the end of the program at its deadline, for at most [`LAST_LINES`].
fn report_end(quiet: bool, report: Option<Arc<Report>>) {
    // Standard error and the report may be pipes that nobody reads, so another thread writes them.
    let (sender, written) = channel();
    thread::spawn(move || {
        let failure = failure().quiet_if(quiet);
        // A report that cannot be written has no time left for an error of its own.
        let _ = report.map(|report| report.write(Err(&failure)));
        let _ = failure.report(""); // the process ends with the status of the caller
        logger::finish();
        let _ = sender.send(()); // the process may have ended
    });
    let _ = written.recv_timeout(LAST_LINES);
}

/// Returns the failure of a program that has reached its deadline. The words are mosquitto's.
pub(super) fn failure() -> Failure {
    Failure::unmarked(Status::TimedOut, "Timed out")
}

/// Lets the calling thread report the end of the program. The thread of the deadline then reports nothing, and still ends
/// the process with this status if the lines cannot be written. If it has reported the end already, this call does not
/// return.
pub(crate) fn finish(exit_code: u8) {
    while !claim(exit_code) {
        thread::park(); // the process is about to end
    }
}

/// Sets the exit status. Returns `false` if it was set before.
fn claim(exit_code: u8) -> bool {
    let set = END.compare_exchange(RUNNING, exit_code, Ordering::Relaxed, Ordering::Relaxed);
    set.is_ok()
}
