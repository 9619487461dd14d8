//! The deadline of `-W`: a thread that ends the program if the loop of the program cannot.
//!
//! The loops of the programs end by themselves at the deadline, but not while a system call blocks: reading the file or
//! pipe of a message, or resolving a local address. A script relies on the deadline in these cases, too. So a thread
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

/// The time after the deadline at which the thread ends the process. A loop that does not block has ended by then,
/// because it needs at most three times [`GRACE`].
const LIMIT: Duration = Duration::from_millis(130);

/// Maximum time for writing the last lines of standard error and the report. A pipe that nobody reads would otherwise
/// block forever. The time must not be much shorter: on a busy machine the thread that writes `Timed out` may start
/// late.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The value of [`END`] while the program runs. No exit status has this number.
const RUNNING: u8 = u8::MAX;

/// The exit status, set by the first thread that ends the program. Only this thread reports the end.
static END: AtomicU8 = AtomicU8::new(RUNNING);

/// Starts the thread that ends the process after the deadline.
///
/// # Errors
/// If the system cannot start a thread.
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
            // The main thread is reporting the end. It ends the process as soon as its lines are written.
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
        // An error is ignored, because no time is left to print it.
        let _ = report.map(|report| report.write(Err(&failure)));
        let _ = failure.report(""); // the caller ends the process with the exit status in `END`
        logger::finish();
        let _ = sender.send(()); // the receiver no longer waits after LAST_LINES
    });
    let _ = written.recv_timeout(LAST_LINES);
}

/// Returns the failure of a program that has reached its deadline. The words are mosquitto's.
pub(super) fn failure() -> Failure {
    Failure::unmarked(Status::TimedOut, "Timed out")
}

/// Reserves the report of the end for the calling thread. The thread of the deadline then prints nothing, and ends the
/// process with this exit status if the calling thread cannot write its lines in time. If the thread of the deadline
/// has reserved the report before, this function does not return.
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
