//! Starts the process of a handler without a shell. A thread waits until the process ends.

use std::ffi::OsString;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::commands::user_command;

use super::output::Output;

/// The variables of a message in the environment of its handler.
pub(super) const VARIABLES: [&str; 13] = [
    "MQTT_TOPIC",
    "MQTT_QOS",
    "MQTT_RETAIN",
    "MQTT_DUP",
    "MQTT_TIME",
    "MQTT_RUN",
    "MQTT_PAYLOAD_LENGTH",
    "MQTT_CONTENT_TYPE",
    "MQTT_RESPONSE_TOPIC",
    "MQTT_PAYLOAD_FORMAT_INDICATOR",
    "MQTT_MESSAGE_EXPIRY_INTERVAL",
    "MQTT_CORRELATION_DATA_BASE64",
    "MQTT_USER_PROPERTIES",
];

/// A payload of at most this size fits into a new pipe on every system, so that writing it does not block.
#[cfg(unix)]
const SMALL: usize = 4096;

/// The end of a process.
#[derive(Debug)]
pub(super) enum Exit {
    Status(i32),
    #[cfg_attr(not(unix), allow(dead_code))]
    Signal(i32),
    Unknown(String),
}

/// A process that runs.
#[derive(Debug)]
pub(super) struct Running {
    #[cfg_attr(not(unix), allow(dead_code))]
    process: u32,
    /// Set when the process identifier may belong to another process.
    #[cfg_attr(not(unix), allow(dead_code))]
    is_reaped: Arc<Mutex<bool>>,
    /// The time at which the handler is killed.
    pub(super) deadline: Option<Instant>,
    pub(super) has_timed_out: bool,
}

/// Returns a command. `words` are the program and its arguments.
pub(super) fn command(words: &[OsString]) -> Command {
    let mut command = user_command::command(words);
    // rsub may be the handler of another rsub. The fields of that message are not those of this one.
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

/// Starts a process with this standard input. A thread writes the payload, unless it is small. Another thread waits for
/// the end of the process and calls `report`, with the output of the process if its standard output is a pipe.
///
/// # Errors
/// If the program or a thread cannot be started. The process then does not run.
pub(super) fn start(
    mut command: Command,
    payload: &[u8],
    timeout: Option<Duration>,
    report: impl FnOnce(Exit, Vec<u8>) + Send + 'static,
) -> io::Result<Running> {
    command.stdin(Stdio::piped());
    // A small payload is written to the pipe before the handler starts. Otherwise, if rsub were killed before it wrote
    // the payload, the handler would read an end of file and take the message for empty.
    #[cfg(unix)]
    if payload.len() <= SMALL {
        command.stdin(filled_pipe(payload)?);
    }
    let (child, running) = spawn(command, timeout)?;
    let started = start_threads(child, payload, running.with_timeout(None), report);
    // Without its threads the handler could read a part of the payload, and its end would not be noticed.
    if started.is_err() {
        running.kill();
    }
    started.map(|()| running)
}

/// Starts a process.
///
/// # Errors
/// If the program cannot be started.
pub(super) fn spawn(
    mut command: Command,
    timeout: Option<Duration>,
) -> io::Result<(Child, Running)> {
    // The handler gets a process group of its own, so that Ctrl-C in a terminal reaches only rsub. rsub then lets the
    // handler finish.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.spawn()?;
    let running = Running {
        process: child.id(),
        is_reaped: Arc::default(),
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        has_timed_out: false,
    };
    Ok((child, running))
}

/// Starts the threads of a process.
fn start_threads(
    mut child: Child,
    payload: &[u8],
    running: Running,
    report: impl FnOnce(Exit, Vec<u8>) + Send + 'static,
) -> io::Result<()> {
    if let Some(mut input) = child.stdin.take() {
        let payload = payload.to_vec();
        // A thread writes the payload, because the handler may read late. Errors are ignored, because the handler may
        // also end without reading.
        let write = move || drop(input.write_all(&payload));
        thread::Builder::new().name("payload".into()).spawn(write)?;
    }
    let output = child.stdout.take();
    let output = output.map(Output::start_whole).transpose()?;
    let wait = move || {
        let exit = running.reap(&mut child);
        match output.map_or(Ok(Vec::new()), Output::finish) {
            Ok(output) => report(exit, output),
            Err(error) => report(Exit::Unknown(error.to_string()), Vec::new()),
        }
    };
    thread::Builder::new().name("handler".into()).spawn(wait)?;
    Ok(())
}

impl Running {
    /// Returns the same process with a deadline of its own.
    pub(super) fn with_timeout(&self, timeout: Option<Duration>) -> Self {
        Self {
            process: self.process,
            is_reaped: Arc::clone(&self.is_reaped),
            deadline: timeout.map(|timeout| Instant::now() + timeout),
            has_timed_out: false,
        }
    }

    /// Waits for the end of the process.
    pub(super) fn reap(&self, child: &mut Child) -> Exit {
        reap(child, &self.is_reaped)
    }

    /// Kills the handler with the processes that it has started.
    pub(super) fn kill(&self) {
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};
            let is_reaped = self
                .is_reaped
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let group = i32::try_from(self.process).ok().and_then(Pid::from_raw);
            if let (Some(group), false) = (group, *is_reaped) {
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }
}

/// Returns the reading end of a pipe with all bytes of a small payload.
#[cfg(unix)]
fn filled_pipe(payload: &[u8]) -> io::Result<Stdio> {
    #[cfg(not(target_vendor = "apple"))]
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    // macOS cannot set the flag when it creates a pipe. All handlers are started by the same thread, so none of them
    // starts in between and inherits the pipe.
    #[cfg(target_vendor = "apple")]
    let (reader, writer) = {
        use rustix::io::{FdFlags, fcntl_setfd};
        let (reader, writer) = rustix::pipe::pipe()?;
        fcntl_setfd(&reader, FdFlags::CLOEXEC)?;
        fcntl_setfd(&writer, FdFlags::CLOEXEC)?;
        (reader, writer)
    };
    File::from(writer).write_all(payload)?;
    Ok(reader.into())
}

/// Waits for the end of a process.
fn reap(child: &mut Child, is_reaped: &Mutex<bool>) -> Exit {
    // The process identifier stays in use until the lock is held, so that `kill` never hits another process.
    #[cfg(unix)]
    {
        use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let process = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        while let Some(Err(rustix::io::Errno::INTR)) =
            process.map(|process| waitid(WaitId::Pid(process), options))
        {}
    }
    let mut is_reaped = is_reaped.lock().unwrap_or_else(PoisonError::into_inner);
    *is_reaped = true;
    match child.wait() {
        Ok(status) => exit(status),
        Err(error) => Exit::Unknown(error.to_string()),
    }
}

fn exit(status: ExitStatus) -> Exit {
    #[cfg(unix)]
    if let Some(signal) = std::os::unix::process::ExitStatusExt::signal(&status) {
        return Exit::Signal(signal);
    }
    status
        .code()
        .map_or_else(|| Exit::Unknown(status.to_string()), Exit::Status)
}
