//! SIGINT and SIGTERM as something to wait for. The first one asks a program to end, a second one
//! ends it at once.

#[cfg(unix)]
pub(crate) use unix::{Interrupts, ServiceSignals};

#[cfg(unix)]
mod unix {
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use signal_hook::consts::{
        SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    };

    use crate::exit_status::Status;

    /// Whether the program was asked to end.
    #[derive(Debug)]
    pub(crate) struct Interrupts {
        /// The number of the last signal; 0 before there was one.
        signal: Arc<AtomicUsize>,
        /// Becomes readable with the first signal.
        pub(crate) source: mio::net::UnixStream,
    }

    /// The signals by which an administrator asks a service for something. Each becomes readable with its signal.
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
        /// To be called before anything that takes long: a signal that comes before this ends the program. Signals that
        /// mean nothing to a service, and would end it, are ignored.
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

    fn source(signal: i32) -> io::Result<mio::net::UnixStream> {
        let (source, end) = UnixStream::pair()?;
        source.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(signal, end)?;
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

    pub(crate) fn asked(&self) -> Option<crate::exit_status::Status> {
        None
    }
}
