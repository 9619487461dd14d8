//! The output of a program, which a thread collects.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Instant;

use crate::PATIENCE;

/// The output of a program so far, and whether the output has ended.
#[derive(Debug, Default)]
pub(super) struct Collected {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Collected {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.state.lock().expect("no panic while locked").0.clone()
    }

    pub(super) fn wait_for_end(&self) {
        let state = self.state.lock().expect("no panic while locked");
        drop(self.changed.wait_while(state, |(_, ended)| !*ended));
    }

    /// Waits until the output contains `text`. Returns the output: as an error if the output has ended or the deadline
    /// has passed before.
    pub(super) fn wait_for(&self, text: &str) -> Result<String, String> {
        self.wait_until(|so_far| so_far.contains(text))
    }

    /// Waits until the output satisfies a condition. Returns the output: as an error if the output has ended or the
    /// deadline has passed before.
    pub(super) fn wait_until(&self, likes: impl Fn(&str) -> bool) -> Result<String, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.state.lock().expect("no panic while locked");
        loop {
            let so_far = String::from_utf8_lossy(&state.0).into_owned();
            if likes(&so_far) {
                return Ok(so_far);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.1 || left.is_zero() {
                return Err(so_far);
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .expect("no panic while locked")
                .0;
        }
    }
}

/// Reads a stream in a thread. Returns the shared buffer with the bytes so far.
pub(super) fn collect(stream: impl Read + Send + 'static) -> Arc<Collected> {
    let collected = Arc::new(Collected::default());
    let shared = Arc::clone(&collected);
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        loop {
            let length = {
                let block = stream.fill_buf().unwrap_or_default();
                let mut state = shared.state.lock().expect("no panic while locked");
                state.0.extend_from_slice(block);
                state.1 = block.is_empty();
                shared.changed.notify_all();
                block.len()
            };
            if length == 0 {
                return;
            }
            stream.consume(length);
        }
    });
    collected
}
