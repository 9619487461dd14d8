//! A thread that writes log lines and lines for the user. A reader that stops reading must not stop the program.
//!
//! The memory for lines is bounded. A slow reader slows the program down. If the reader reads nothing for a second,
//! further lines are dropped and counted until it reads again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::output::standard_streams::{StandardError, StandardOutput};

/// Maximum number of bytes that wait for the reader.
const MAXIMUM_WAITING: usize = 256 * 1024;

/// The time that the program waits for the reader, when the memory is full and at the end of the program.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stream that lines go to.
pub(crate) enum Stream {
    StandardError,
    StandardOutput,
    /// A file, or anything else that can be written.
    Other(Box<dyn Write + Send>),
}

/// The lines that wait for the thread. Clones share the lines.
#[derive(Debug, Clone)]
pub(crate) struct LogThread {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<u8>,
    /// Set once the thread was started with a stream.
    is_open: bool,
    is_writing: bool,
    /// Set when the reader has read nothing for [`PATIENCE`]. Lines are dropped until there is room.
    is_stalled: bool,
    dropped: usize,
}

impl LogThread {
    /// Starts the thread. If the system cannot start a thread, lines are lost, but the program runs.
    pub(crate) fn start(stream: Stream) -> Self {
        let log = Self::waiting();
        log.open(stream);
        log
    }

    /// Creates a queue without a thread. Lines wait until [`Self::open`] is called.
    pub(crate) fn waiting() -> Self {
        Self {
            shared: Arc::default(),
        }
    }

    /// Starts the thread.
    pub(crate) fn open(&self, stream: Stream) {
        let own = Arc::clone(&self.shared);
        own.lock().is_open = true;
        // Nothing joins the thread: it ends with the process, after `flush`.
        let work = move || own.write_all(stream);
        let _ = thread::Builder::new().name("lines".into()).spawn(work);
    }

    /// Adds a line, which ends with a newline. If there is no room, waits for at most [`PATIENCE`] and then drops the
    /// line.
    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.shared.lock();
        // Only the first line waits for the reader. If each line waited a second, the program would stand still.
        if lines.text.len() >= MAXIMUM_WAITING && !lines.is_stalled && lines.is_open {
            lines = self
                .shared
                .wait(lines, |lines| lines.text.len() >= MAXIMUM_WAITING);
        }
        lines.is_stalled = lines.text.len() >= MAXIMUM_WAITING;
        if lines.is_stalled {
            lines.dropped += 1;
            return;
        }
        // The note is written at the place of the dropped lines.
        if lines.dropped > 0 {
            let note = format!(
                "({} lines were dropped because they were not read in time)\n",
                lines.dropped
            );
            lines.text.extend_from_slice(note.as_bytes());
            lines.dropped = 0;
        }
        lines.text.extend_from_slice(line.as_bytes());
        self.shared.changed.notify_all();
    }

    /// Waits until all lines are written, or [`PATIENCE`] has passed.
    pub(crate) fn flush(&self) {
        let lines = self.shared.lock();
        // `push` has already waited for a stalled reader, and without a stream no line will be written.
        if !lines.is_stalled && lines.is_open {
            drop(
                self.shared
                    .wait(lines, |lines| lines.is_writing || !lines.text.is_empty()),
            );
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `is_so` returns `true`, but at most [`PATIENCE`].
    fn wait<'a>(
        &self,
        mut lines: MutexGuard<'a, Lines>,
        is_so: impl Fn(&Lines) -> bool,
    ) -> MutexGuard<'a, Lines> {
        let end = Instant::now() + PATIENCE;
        while is_so(&lines) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(lines, left);
            lines = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        lines
    }

    /// Writes lines as they arrive. The thread runs this function until the process ends.
    fn write_all(&self, mut stream: Stream) {
        let mut text = Vec::new();
        loop {
            let mut lines = self.lock();
            lines.is_writing = false;
            self.changed.notify_all();
            while lines.text.is_empty() {
                let waited = self.changed.wait(lines);
                lines = waited.unwrap_or_else(PoisonError::into_inner);
            }
            // The buffers are swapped, so that the lock is not held during the write and no buffer is allocated again.
            std::mem::swap(&mut lines.text, &mut text);
            lines.is_writing = true;
            self.changed.notify_all();
            drop(lines);
            // The reader may have closed the stream. That does not end the program.
            let _ = stream.write(&text);
            text.clear();
        }
    }
}

impl Stream {
    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        match self {
            Self::StandardError => StandardError.write_all(text),
            Self::StandardOutput => StandardOutput
                .write_all(text)
                .and_then(|()| StandardOutput.flush()),
            Self::Other(writer) => writer.write_all(text),
        }
    }
}
