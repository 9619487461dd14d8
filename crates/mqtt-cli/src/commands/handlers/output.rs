//! Reads the standard output of a handler: `rrr --serve` sends it as the response, and with `rsub --stdio` its lines are
//! answers.

use std::io::{self, Read};
use std::process::ChildStdout;
use std::thread::{self, JoinHandle};

/// Maximum length of the output, so that a handler that writes without end does not fill the memory.
const MAXIMUM: usize = 16 * 1024 * 1024;

/// A thread that reads the output, so that a handler with much output does not wait for ever.
#[derive(Debug)]
pub(super) struct Output {
    reader: JoinHandle<io::Result<Vec<u8>>>,
    /// The reader stops when this end of a pipe is closed.
    #[cfg(unix)]
    end: std::os::fd::OwnedFd,
}

impl Output {
    /// Starts a thread that collects the whole output.
    ///
    /// # Errors
    /// If the thread or its pipe cannot be created.
    pub(super) fn start_whole(stdout: ChildStdout) -> io::Result<Self> {
        Self::start(stdout, |source| read(source))
    }

    /// Starts a thread that calls `read` with the output, which ends with the handler.
    ///
    /// # Errors
    /// If the thread or its pipe cannot be created.
    pub(super) fn start(
        stdout: ChildStdout,
        read: impl FnOnce(&mut dyn Read) -> io::Result<Vec<u8>> + Send + 'static,
    ) -> io::Result<Self> {
        #[cfg(unix)]
        let (ended, end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let run = move || {
            let mut source = Source {
                stdout,
                #[cfg(unix)]
                handler: Some(ended),
            };
            read(&mut source)
        };
        Ok(Self {
            reader: thread::Builder::new().name("output".into()).spawn(run)?,
            #[cfg(unix)]
            end,
        })
    }

    /// Returns what the thread has collected, after the handler has ended.
    ///
    /// A process that the handler has left behind may keep the pipe open. So on Unix the output ends with the handler,
    /// and not with the pipe.
    ///
    /// # Errors
    /// If the output is too long or cannot be read.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        #[cfg(unix)]
        drop(self.end);
        let result = self.reader.join();
        result.unwrap_or_else(|_| Err(io::Error::other("its output cannot be read")))
    }
}

fn read(source: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    let mut block = vec![0; 64 * 1024];
    loop {
        let count = match source.read(&mut block) {
            Ok(0) => return Ok(output),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if output.len() + count > MAXIMUM {
            // The pipe is closed now, so the handler ends when it writes more.
            let text = format!("its output is longer than {} MiB", MAXIMUM / 1024 / 1024);
            return Err(io::Error::other(text));
        }
        output.extend_from_slice(block.get(..count).unwrap_or_default());
    }
}

/// The output of a handler. Reading returns 0 after everything that the handler has written.
struct Source {
    stdout: ChildStdout,
    /// A pipe that is closed when the handler has ended; `None` after that.
    #[cfg(unix)]
    handler: Option<std::os::fd::OwnedFd>,
}

#[cfg(unix)]
impl Read for Source {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, poll};
        if let Some(handler) = &self.handler {
            let mut streams = [
                PollFd::new(&self.stdout, PollFlags::IN),
                PollFd::new(handler, PollFlags::IN),
            ];
            poll(&mut streams, None)?;
            let [_, handler] = streams;
            if !handler.revents().is_empty() {
                // The pipe has all bytes of the handler now, so an empty pipe is the end.
                rustix::io::ioctl_fionbio(&self.stdout, true)?;
                self.handler = None;
            }
        }
        match self.stdout.read(block) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            result => result,
        }
    }
}

#[cfg(not(unix))]
impl Read for Source {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        self.stdout.read(block)
    }
}
