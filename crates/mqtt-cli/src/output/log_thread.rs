//! Lines for people and logs, written by a thread of their own: who stops reading them must not stop
//! the program.
//!
//! What waits is bounded. A reader that is only slow slows the program down; one that takes nothing for
//! a second costs lines, which are counted.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::output::standard_streams::{StandardError, StandardOutput};

/// So much may wait.
const MAXIMUM_WAITING: usize = 256 * 1024;

/// How long a full sink is waited for, and the last lines at the end.
const PATIENCE: Duration = Duration::from_secs(1);

/// The stream that lines go to.
pub(crate) enum Stream {
    StandardError,
    StandardOutput,
    /// A file, for one.
    Other(Box<dyn Write + Send>),
}

/// Takes lines and has them written.
#[derive(Debug, Clone)]
pub(crate) struct LogThread {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    text: Vec<u8>,
    /// There is a stream.
    is_open: bool,
    is_writing: bool,
    /// Nobody took anything for a while: lines are dropped until there is room.
    is_stalled: bool,
    dropped: usize,
}

impl LogThread {
    /// Starts the thread. Without one, lines are lost and nothing else.
    pub(crate) fn start(stream: Stream) -> Self {
        let sink = Self::waiting();
        sink.open(stream);
        sink
    }

    /// A sink whose stream is opened later; lines wait for it.
    pub(crate) fn waiting() -> Self {
        Self {
            shared: Arc::default(),
        }
    }

    /// Starts the thread of a sink that waits.
    pub(crate) fn open(&self, stream: Stream) {
        let own = Arc::clone(&self.shared);
        own.lock().is_open = true;
        let work = move || own.write_all(stream);
        let _ = thread::Builder::new().name("lines".into()).spawn(work);
    }

    /// Takes a line, with its newline.
    pub(crate) fn push(&self, line: &str) {
        let mut state = self.shared.lock();
        if state.text.len() >= MAXIMUM_WAITING && !state.is_stalled && state.is_open {
            state = self
                .shared
                .wait(state, |state| state.text.len() >= MAXIMUM_WAITING);
        }
        state.is_stalled = state.text.len() >= MAXIMUM_WAITING;
        if state.is_stalled {
            state.dropped += 1;
            return;
        }
        if state.dropped > 0 {
            let note = format!("({} lines were not read in time)\n", state.dropped);
            state.text.extend_from_slice(note.as_bytes());
            state.dropped = 0;
        }
        state.text.extend_from_slice(line.as_bytes());
        self.shared.changed.notify_all();
    }

    /// Waits until all is written, for a while.
    pub(crate) fn flush(&self) {
        let state = self.shared.lock();
        if !state.is_stalled && state.is_open {
            drop(
                self.shared
                    .wait(state, |state| state.is_writing || !state.text.is_empty()),
            );
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while this is so, but not for long.
    fn wait<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        is_so: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let end = Instant::now() + PATIENCE;
        while is_so(&state) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    /// The thread: it ends with the process.
    fn write_all(&self, mut stream: Stream) {
        let mut text = Vec::new();
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            while state.text.is_empty() {
                let waited = self.changed.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
            std::mem::swap(&mut state.text, &mut text);
            state.is_writing = true;
            self.changed.notify_all();
            drop(state);
            // Nobody reads it any more: no reason to stop.
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
