//! Handlers that stay, for `rsub --stdio`. Such a handler reads each message as a line of JSON from its standard input,
//! and writes one line to its standard output for each message: `ok`, or `error TEXT`.
//!
//! Each handler has at most one message at a time, so a line needs no identifier, a deadline belongs to one message, and
//! a handler that dies shows which message it could not handle. `--jobs` starts several handlers.
//!
//! A handler starts when a message needs it. It gets the messages of one command; a table may have several commands.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::diagnostics::Diagnostics;

use super::job::Job;
use super::output::Output;
use super::process::{self, Exit, Running};
use super::reports::{Report, Reports, RunFailure};

/// Maximum length of a line of a handler. A user property of a dead letter has room for its text.
const MAXIMUM_LINE: usize = 16 * 1024;

/// The time that handlers have to exit after the end of their input, unless `--exec-timeout` sets another.
const GRACE: Duration = Duration::from_secs(10);

/// The handlers that stay.
#[derive(Debug, Default)]
pub(super) struct Residents {
    list: Vec<Resident>,
    last_number: u64,
    /// The time at which the handlers are killed, after `end`.
    end: Option<Instant>,
}

/// A handler that stays.
#[derive(Debug)]
struct Resident {
    number: u64,
    words: Vec<OsString>,
    process: Running,
    /// The lines for its standard input, which a thread writes. `None` closes the input.
    lines: Option<SyncSender<Vec<u8>>>,
    /// The number of the job that it has not answered yet.
    job: Option<u64>,
    /// The reason why this program has killed it.
    fault: Option<String>,
}

impl Residents {
    /// Gives a message to a free handler with these words, or to a new one.
    ///
    /// # Errors
    /// If the handler cannot be started.
    pub(super) fn give(
        &mut self,
        job: &Job,
        words: &[OsString],
        timeout: Option<Duration>,
        reports: &Reports,
    ) -> io::Result<Running> {
        let line = job.line()?;
        let is_usable = |resident: &Resident| resident.is_free() && resident.words == words;
        if !self.list.iter().any(is_usable) {
            self.last_number += 1;
            let resident = Resident::start(self.last_number, words, reports)?;
            self.list.push(resident);
        }
        let free = self.list.iter_mut().find(|resident| is_usable(resident));
        let resident = free.ok_or_else(|| io::Error::other("it has ended"))?;
        resident.give(job.number, line);
        Ok(resident.process.with_timeout(timeout))
    }

    /// Handles a line of a handler. Returns the number of the job and its outcome if the line is an answer.
    pub(super) fn handle_line(
        &mut self,
        number: u64,
        line: &[u8],
    ) -> Option<(u64, Result<(), RunFailure>)> {
        let mut list = self.list.iter_mut();
        let resident = list.find(|resident| resident.number == number)?;
        // A handler that is being killed has no answer to give: its message is already a failed run.
        if resident.fault.is_some() {
            return None;
        }
        let Some(job) = resident.job else {
            // The handler has lost count of the messages, and its next line could belong to another message.
            resident.kill("it has written a line without a message");
            return None;
        };
        let text = printable(line);
        let outcome = match text.split_once(' ').unwrap_or((&text, "")) {
            ("ok", "") => Ok(()),
            ("error", "") => Err(RunFailure::counted("the handler gave no reason".to_owned())),
            ("error", reason) => Err(RunFailure::counted(reason.to_owned())),
            _ => {
                let start: String = text.chars().take(40).collect();
                resident.kill(&format!(
                    "it has written '{start}' instead of 'ok' or 'error TEXT'"
                ));
                return None;
            }
        };
        resident.job = None;
        Some((job, outcome))
    }

    /// Handles the end of a handler. Returns the failure, with the number of the job that the handler has not answered.
    pub(super) fn handle_exit(
        &mut self,
        number: u64,
        exit: &Exit,
    ) -> Option<(Option<u64>, RunFailure)> {
        let mut list = self.list.iter();
        let index = list.position(|resident| resident.number == number)?;
        let resident = self.list.swap_remove(index);
        // A handler may exit with 0 after some messages, to start afresh. The next message is then no failure.
        let is_regular = matches!(exit, Exit::Status(0)) && resident.fault.is_none();
        let reason = match (resident.fault, exit) {
            (Some(fault), _) => fault,
            (None, Exit::Status(status)) if resident.job.is_some() => {
                format!("exit status {status} without an answer")
            }
            (None, Exit::Status(status)) => format!("exit status {status}"),
            (None, Exit::Signal(signal)) => format!("signal {signal}"),
            (None, Exit::Unknown(text)) => text.clone(),
        };
        let failure = RunFailure {
            reason,
            is_handler_lost: true,
            is_regular_exit: is_regular,
        };
        Some((resident.job, failure))
    }

    /// Kills the handler that has this message, because it takes too long.
    pub(super) fn kill_overdue(&mut self, job: u64) {
        let mut list = self.list.iter_mut();
        if let Some(resident) = list.find(|resident| resident.job == Some(job)) {
            resident.kill("it took longer than --exec-timeout");
        }
    }

    /// Closes the input of the handlers, and kills those that do not exit in time. Returns `true` while the caller must
    /// wait for them.
    pub(super) fn end(&mut self, timeout: Option<Duration>, diagnostics: &Diagnostics) -> bool {
        for resident in &mut self.list {
            resident.lines = None;
        }
        let now = Instant::now();
        let end = *self
            .end
            .get_or_insert_with(|| now + timeout.unwrap_or(GRACE));
        if self.list.is_empty() {
            return false;
        }
        if now >= end {
            self.kill();
            diagnostics
                .warn("A handler was killed, because it has not exited at the end of its input.");
        }
        now < end
    }

    /// Kills all handlers.
    pub(super) fn kill(&self) {
        for resident in &self.list {
            resident.process.kill();
        }
    }

    /// Returns the time at which `end` must be called again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.end.filter(|_| !self.list.is_empty())
    }
}

impl Resident {
    /// Starts a handler. One thread writes its input, another one reads its output, and a third one waits for its end.
    fn start(number: u64, words: &[OsString], reports: &Reports) -> io::Result<Self> {
        let mut command = process::command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let (child, process) = process::spawn(command, None)?;
        // One line waits while the thread writes another: a handler may answer before it has read its whole line.
        let (lines, waiting) = sync_channel(1);
        let started = start_threads(child, number, waiting, &process, reports);
        if started.is_err() {
            process.kill();
        }
        started.map(|()| Self {
            number,
            words: words.to_vec(),
            process,
            lines: Some(lines),
            job: None,
            fault: None,
        })
    }

    fn give(&mut self, job: u64, line: Vec<u8>) {
        self.job = Some(job);
        let sent = self.lines.as_ref().map(|lines| lines.try_send(line));
        // If the thread has ended, the handler has ended as well, and its exit is reported.
        if let Some(Err(TrySendError::Full(_))) = sent {
            self.kill("it answers messages without reading them");
        }
    }

    /// Kills the handler. Its exit is reported later.
    fn kill(&mut self, reason: &str) {
        self.fault.get_or_insert_with(|| reason.to_owned());
        self.lines = None;
        self.process.kill();
    }

    fn is_free(&self) -> bool {
        self.job.is_none() && self.fault.is_none() && self.lines.is_some()
    }
}

fn start_threads(
    mut child: Child,
    number: u64,
    lines: Receiver<Vec<u8>>,
    process: &Running,
    reports: &Reports,
) -> io::Result<()> {
    if let Some(input) = child.stdin.take() {
        let process = process.with_timeout(None);
        let write = move || write_lines(input, &lines, &process);
        thread::Builder::new().name("input".into()).spawn(write)?;
    }
    let for_lines = reports.clone();
    let read = move |source: &mut dyn Read| {
        read_lines(source, |line| for_lines.send(Report::Line(number, line)));
        Ok(Vec::new())
    };
    let stdout = child.stdout.take();
    let output = stdout
        .map(|stdout| Output::start(stdout, read))
        .transpose()?;
    let (process, reports) = (process.with_timeout(None), reports.clone());
    let wait = move || {
        let exit = process.reap(&mut child);
        // The lines of the handler are reported before its exit, because the last one may be an answer.
        let _ = output.map(Output::finish);
        reports.send(Report::ResidentExit(number, exit));
    };
    thread::Builder::new().name("handler".into()).spawn(wait)?;
    Ok(())
}

/// Writes lines until the sender is dropped, and closes the input then.
fn write_lines(mut input: ChildStdin, lines: &Receiver<Vec<u8>>, process: &Running) {
    for line in lines {
        if input.write_all(&line).is_err() {
            // A handler that has closed its input would never answer.
            process.kill();
            return;
        }
    }
}

/// Reports each line that is complete. A handler may be killed while it writes, so a line without its end is no answer.
fn read_lines(source: &mut dyn Read, report: impl Fn(Vec<u8>)) {
    let mut reader = BufReader::new(source);
    loop {
        let mut line = Vec::new();
        let mut bounded = reader.by_ref().take(MAXIMUM_LINE as u64);
        let Ok(length) = bounded.read_until(b'\n', &mut line) else {
            return;
        };
        if line.ends_with(b"\n") {
            report(line);
        } else {
            // The words before a line that is too long keep it from being an answer.
            if length == MAXIMUM_LINE {
                line.splice(0..0, *b"(a line that is too long) ");
                report(line);
            }
            return;
        }
    }
}

/// Returns a line without its end, for logs and properties. Control characters could change the terminal, and a
/// property must not contain NUL.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end_matches(['\n', '\r']);
    let visible = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.chars().map(visible).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_complete_lines_of_bounded_length_are_answers() {
        let read = |text: &str| {
            let lines = std::cell::RefCell::new(Vec::new());
            read_lines(&mut text.as_bytes(), |line| {
                lines.borrow_mut().push(printable(&line));
            });
            lines.into_inner()
        };
        assert_eq!(read("ok\r\nerror a\tb\nok"), ["ok", "error a b"]);
        let long = read(&format!("ok\nerror {}\nok\n", "x".repeat(MAXIMUM_LINE)));
        assert_eq!(long.len(), 2);
        assert!(
            long.last()
                .unwrap()
                .starts_with("(a line that is too long)")
        );
    }
}
