//! Starts the process of a handler without a shell. A thread waits until the process ends.

use std::ffi::OsString;
#[cfg(unix)]
use std::fs::File;
use std::io::{self, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mio::Waker;

use super::job::Job;

/// A payload of at most this size fits into a new pipe on every system, so that writing it does not block.
#[cfg(unix)]
const SMALL: usize = 4096;

/// The end of a process.
#[derive(Debug)]
pub(super) enum Exit {
    Status(i32),
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

/// Starts the handler of a job. A thread writes the payload, unless it is small. Another thread waits for the end of
/// the process, sends the result to `sender`, and calls the waker.
///
/// # Errors
/// If the program cannot be started.
pub(super) fn start(
    job: &mut Job,
    words: &[OsString],
    timeout: Option<Duration>,
    sender: Sender<(u64, Exit)>,
    waker: Arc<Waker>,
) -> io::Result<Running> {
    let [program, arguments @ ..] = words else {
        return Err(io::ErrorKind::NotFound.into());
    };
    // No shell reads these words, so nothing in a topic or payload can become a command.
    let mut command = Command::new(program);
    command
        .args(arguments)
        .envs(job.environment())
        .env_remove("MQTT_PASSWORD") // the handler has no use for the password of rsub
        .env("MQTT_PAYLOAD_LENGTH", job.message.payload.len().to_string())
        .stdin(Stdio::piped());
    // A small payload is written to the pipe before the handler starts. Otherwise, if rsub were killed before it wrote
    // the payload, the handler would read an end of file and take the message for empty.
    #[cfg(unix)]
    if job.message.payload.len() <= SMALL {
        command.stdin(filled_pipe(&job.message.payload)?);
    }
    // The handler gets a process group of its own, so that Ctrl-C in a terminal reaches only rsub. rsub then lets the
    // handler finish.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = command.spawn()?;
    job.runs += 1;
    let is_reaped = Arc::new(Mutex::new(false));
    let running = Running {
        process: child.id(),
        is_reaped: Arc::clone(&is_reaped),
        deadline: timeout.map(|timeout| Instant::now() + timeout),
        has_timed_out: false,
    };
    let (number, input) = (job.number, child.stdin.take());
    if let Some(mut input) = input {
        let payload = job.message.payload.clone();
        // A thread writes the payload, because the handler may read late. Errors are ignored, because the handler may
        // also end without reading.
        let write = move || drop(input.write_all(&payload));
        thread::Builder::new().name("payload".into()).spawn(write)?;
    }
    let wait = move || {
        let exit = reap(&mut child, &is_reaped);
        // Errors are ignored: the loop of rsub may have ended, and then nothing receives the result.
        let _ = sender.send((number, exit));
        let _ = waker.wake();
    };
    thread::Builder::new().name("handler".into()).spawn(wait)?;
    Ok(running)
}

impl Running {
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
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
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
