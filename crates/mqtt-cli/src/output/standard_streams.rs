//! Standard input, output and error, without buffers.
//!
//! The streams may be in non-blocking mode: another program that shares the pipe or terminal, such as ssh or a
//! supervisor, may have set the mode. All processes that share a stream share its mode, so it is not changed here.
//! Instead, a read or write waits until the stream is ready, whereas the standard library would return an error.

#[cfg(not(unix))]
use std::io::Read;
use std::io::{self, IsTerminal, Write};

/// Standard input.
#[derive(Debug)]
pub(crate) struct StandardInput;

/// Standard output without the buffer of the standard library. After a partial write that buffer does not know which
/// bytes were written, so a message could be printed twice or not at all.
#[derive(Debug)]
pub(crate) struct StandardOutput;

/// Standard error.
#[derive(Debug)]
pub(crate) struct StandardError;

/// Returns `true` if lines on standard error may be coloured: standard error is a terminal, and NO_COLOR is unset or
/// empty.
pub(crate) fn is_colorful() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Writes text to standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    StandardOutput.write_all(text.as_bytes())?;
    StandardOutput.flush()
}

#[cfg(unix)]
mod unix {
    use std::io::{self, Read, Write};
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::io::{Errno, read, write};

    use crate::output::standard_streams::{StandardError, StandardInput, StandardOutput};

    impl Read for StandardInput {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            patiently(io::stdin(), PollFlags::IN, |stream| {
                read(stream, &mut *buffer)
            })
        }
    }

    impl Write for StandardOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            patiently(io::stdout(), PollFlags::OUT, |stream| write(stream, bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Write for StandardError {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            patiently(io::stderr(), PollFlags::OUT, |stream| write(stream, bytes))
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Repeats a read or write until the stream is ready for it.
    fn patiently<S: AsFd>(
        stream: S,
        readiness: PollFlags,
        mut attempt: impl FnMut(&S) -> rustix::io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            match attempt(&stream) {
                // The stream is in non-blocking mode. Waits without a time limit, as a blocking read or write would.
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&stream, readiness)], None) {
                    // After a signal handler has run, the attempt is repeated.
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                },
                result => return Ok(result?),
            }
        }
    }
}

#[cfg(not(unix))]
impl Read for StandardInput {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        io::stdin().read(buffer)
    }
}

#[cfg(not(unix))]
impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stdout().write(bytes).map_err(with_broken_pipe)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().map_err(with_broken_pipe)
    }
}

#[cfg(not(unix))]
impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Returns the error of a write. Windows has three errors for a pipe whose reader has closed it, and the standard library
/// knows only two of them as a broken pipe.
#[cfg(not(unix))]
fn with_broken_pipe(error: io::Error) -> io::Error {
    const ERROR_PIPE_NOT_CONNECTED: i32 = 233;
    if error.raw_os_error() == Some(ERROR_PIPE_NOT_CONNECTED) {
        io::ErrorKind::BrokenPipe.into()
    } else {
        error
    }
}
