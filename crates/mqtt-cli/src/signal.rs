//! SIGINT and SIGTERM as something to wait for. The first one asks a program to end, a second one
//! ends it at once.

#[cfg(unix)]
pub(crate) use unix::{Interrupts, hang_ups};

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    use crate::exit::Status;

    /// Whether the program was asked to end.
    #[derive(Debug)]
    pub(crate) struct Interrupts {
        /// The number of the last signal; 0 before there was one.
        signal: Arc<AtomicUsize>,
        /// Becomes readable with the first signal.
        pub(crate) source: mio::net::UnixStream,
    }

    /// Becomes readable with each SIGHUP.
    pub(crate) fn hang_ups() -> io::Result<mio::net::UnixStream> {
        let (source, end) = UnixStream::pair()?;
        source.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGHUP, end)?;
        Ok(mio::net::UnixStream::from_std(source))
    }

    impl Interrupts {
        pub(crate) fn listen() -> io::Result<Self> {
            let asked = Arc::new(AtomicBool::new(false));
            let number = Arc::new(AtomicUsize::new(0));
            let (source, end) = UnixStream::pair()?;
            source.set_nonblocking(true)?;
            for signal in [SIGINT, SIGTERM] {
                // In this order: the flag is not set yet when the first signal comes.
                let status = 128 + signal;
                signal_hook::flag::register_conditional_shutdown(
                    signal,
                    status,
                    Arc::clone(&asked),
                )?;
                signal_hook::flag::register(signal, Arc::clone(&asked))?;
                let value = usize::try_from(signal).unwrap_or_default();
                signal_hook::flag::register_usize(signal, Arc::clone(&number), value)?;
                signal_hook::low_level::pipe::register(signal, end.try_clone()?)?;
            }
            Ok(Self {
                signal: number,
                source: mio::net::UnixStream::from_std(source),
            })
        }

        /// The exit status of a program that the signal ends, once there was one.
        pub(crate) fn asked(&self) -> Option<Status> {
            let number = u8::try_from(self.signal.load(Ordering::Relaxed));
            number.ok().filter(|number| *number > 0).map(Status::Signal)
        }
    }
}

/// Elsewhere the system ends the program.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Interrupts;

#[cfg(not(unix))]
impl Interrupts {
    pub(crate) fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) fn asked(&self) -> Option<crate::exit::Status> {
        None
    }
}
