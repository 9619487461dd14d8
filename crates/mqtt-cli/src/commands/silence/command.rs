//! The command of `--on-silence`.

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use mio::Waker;
use mqtt_client::session::Printable;
use mqtt_codec::TopicFilter;

use crate::commands::user_command;
use crate::diagnostics::Diagnostics;
use crate::wording::{shown, system_text};

/// The command, and its runs. At most one run for each filter exists at a time, so that the number of processes is
/// bounded.
#[derive(Debug)]
pub(super) struct Commands {
    words: Vec<OsString>,
    /// The indexes of the filters for which the command runs.
    running: HashSet<usize>,
    ends: Receiver<End>,
    sender: Sender<End>,
    waker: Arc<Waker>,
}

/// The end of a run: the index and the text of the filter, and the result.
type End = (usize, String, io::Result<ExitStatus>);

impl Commands {
    pub(super) fn new(words: Vec<OsString>, waker: Arc<Waker>) -> Self {
        let (sender, ends) = channel();
        Self {
            words,
            running: HashSet::new(),
            ends,
            sender,
            waker,
        }
    }

    /// Returns the name of the program, for messages.
    pub(super) fn name(&self) -> String {
        let name = self.words.first().map(|name| shown(name));
        name.unwrap_or_default()
    }

    /// Starts the command for a filter. Returns `false` if it still runs for this filter.
    ///
    /// # Errors
    /// If the program or a thread cannot be started.
    pub(super) fn start(
        &mut self,
        index: usize,
        filter: &TopicFilter,
        seconds: &str,
        is_connected: bool,
    ) -> io::Result<bool> {
        if !self.running.insert(index) {
            return Ok(false);
        }
        let mut command = user_command::command(&self.words);
        command
            .env("MQTT_FILTER", &**filter)
            .env("MQTT_SILENCE", seconds)
            .env("MQTT_CONNECTED", u8::from(is_connected).to_string())
            .stdin(Stdio::null());
        // Ctrl-C in a terminal reaches only rsub, so that an alarm is not cut off.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn()?;
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        let filter = filter.to_string();
        let wait = move || {
            let result = child.wait();
            // Errors are ignored: the loop of rsub may have ended, and then nothing receives the result.
            let _ = sender.send((index, filter, result));
            let _ = waker.wake();
        };
        thread::Builder::new()
            .name("on-silence".into())
            .spawn(wait)?;
        Ok(true)
    }

    /// Prints the runs that have failed.
    pub(super) fn collect(&mut self, diagnostics: &Diagnostics) {
        while let Ok((index, filter, result)) = self.ends.try_recv() {
            self.running.remove(&index);
            let reason = match result {
                Ok(status) if status.success() => continue,
                Ok(status) => status.to_string(),
                Err(error) => system_text(&error),
            };
            let filter = Printable(&filter);
            diagnostics.warn(&format!(
                "The command of --on-silence for '{filter}' failed: {reason}."
            ));
        }
    }
}
