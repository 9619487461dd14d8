//! A thread that writes lines for people and logs. A reader that stops reading them must not stop the program.
//!
//! The memory for lines is bounded. A slow reader slows the program down. If it reads nothing for a second, further lines
//! are dropped and counted until it reads again.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::output::standard_streams::{StandardError, StandardOutput};

/// Maximum number of bytes that wait for the reader.
const MAXIMUM_WAITING: usize = 256 * 1024;

/// The time that the program waits for the reader, when the memory is full and at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stream that lines go to.
pub(crate) enum Stream {
    StandardError,
    StandardOutput,
    /// A file, or anything else that can be written.
    Other(Box<dyn Write + Send>),
}

/// The lines that wait for the thread. Clones share them.
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
    /// Set once there is a stream, and so a thread.
    is_open: bool,
    is_writing: bool,
    /// Set when the reader has read nothing for a while. Lines are dropped until there is room.
    is_stalled: bool,
    dropped: usize,
}

impl LogThread {
    /// Starts the thread. If the system has no room for a thread, lines are lost, which is better than to end.
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
        // The handle is not kept: the thread ends with the process, after `flush`.
        let work = move || own.write_all(stream);
        let _ = thread::Builder::new().name("lines".into()).spawn(work);
    }

    /// Adds a line, with its newline. Waits for a short time if there is no room, and then drops it.
    pub(crate) fn push(&self, line: &str) {
        let mut lines = self.shared.lock();
        // Only the first line waits for the reader: a second for each would stop the program.
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
        // The note stands where the lines are missing.
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
        // A stalled reader was waited for already, and without a stream nothing will be written.
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

    /// Waits while `is_so` returns true, at most [`PATIENCE`].
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

    /// Writes lines as they come. The thread runs this until the process ends.
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
            // Swapped, so that two buffers serve for ever and nothing is written under the lock.
            std::mem::swap(&mut lines.text, &mut text);
            lines.is_writing = true;
            self.changed.notify_all();
            drop(lines);
            // The reader may be gone, which is not a reason to end.
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
