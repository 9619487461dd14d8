//! The signals of Unix. Each signal makes a socket readable that the event loop watches.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
};

use crate::exit_status::Status;

/// The request to end the program. SIGINT and SIGTERM set it.
#[derive(Debug)]
pub(crate) struct Interrupts {
    /// The number of the last signal; 0 before the first one.
    signal: Arc<AtomicUsize>,
    /// A socket that becomes readable with the first signal.
    pub(crate) source: mio::net::UnixStream,
}

/// The signals with which an administrator controls a service. Each socket becomes readable with its signal.
#[derive(Debug)]
pub(crate) struct ServiceSignals {
    /// SIGHUP: read the configuration again.
    pub(crate) reload: mio::net::UnixStream,
    /// SIGUSR1: write the store.
    pub(crate) save: mio::net::UnixStream,
    /// SIGUSR2: log subscriptions and retained messages.
    pub(crate) dump: mio::net::UnixStream,
}

impl ServiceSignals {
    /// Handles the signals from now on. Until this call, a signal ends the process, so the caller must make it
    /// before any step that takes long. SIGALRM, SIGVTALRM, SIGPROF and SIGIO are ignored: by default they would
    /// end the process.
    pub(crate) fn listen() -> io::Result<Self> {
        for signal in [SIGALRM, SIGVTALRM, SIGPROF, SIGIO] {
            signal_hook::flag::register(signal, Arc::default())?;
        }
        Ok(Self {
            reload: source(SIGHUP)?,
            save: source(SIGUSR1)?,
            dump: source(SIGUSR2)?,
        })
    }
}

/// Returns a socket that becomes readable with each signal of this number. A signal handler can safely do little
/// more than write to a socket or pipe.
fn source(signal: i32) -> io::Result<mio::net::UnixStream> {
    let (source, end) = UnixStream::pair()?;
    source.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(signal, end)?;
    Ok(mio::net::UnixStream::from_std(source))
}

impl Interrupts {
    /// Handles SIGINT and SIGTERM from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let number = Arc::new(AtomicUsize::new(0));
        let (source, end) = UnixStream::pair()?;
        source.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM] {
            // The handlers run in the order in which they are registered. At the first signal the shutdown handler
            // finds `asked` unset, and the next handler sets it. At the second signal the shutdown handler ends the
            // process.
            let status = 128 + signal;
            signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(&asked))?;
            signal_hook::flag::register(signal, Arc::clone(&asked))?;
            let value = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&number), value)?;
            // This handler writes to a socket that the event loop watches. Few other operations are safe in a
            // signal handler.
            signal_hook::low_level::pipe::register(signal, end.try_clone()?)?;
        }
        Ok(Self {
            signal: number,
            source: mio::net::UnixStream::from_std(source),
        })
    }

    /// Returns the exit status for the signal that has arrived, or `None` if no signal has arrived.
    pub(crate) fn asked(&self) -> Option<Status> {
        let number = u8::try_from(self.signal.load(Ordering::Relaxed));
        number.ok().filter(|number| *number > 0).map(Status::Signal)
    }
}
