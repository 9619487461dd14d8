//! The requests of Windows: Ctrl-C, and named events with which an administrator controls the broker. Each request makes
//! a socket readable that the event loop watches.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use winsafe::HEVENT;
use winsafe::guard::CloseHandleGuard;
use winsafe::prelude::kernel_Hevent;

use crate::exit_status::Status;

/// The number of SIGINT. The exit status of an interrupted program is 128 plus this number on each platform.
const SIGINT: u8 = 2;

/// The request to end the program. Ctrl-C and Ctrl-Break set it, and so do the end of the user's session and the end of
/// the system.
#[derive(Debug)]
pub(crate) struct Interrupts {
    is_asked: Arc<AtomicBool>,
    /// A socket that becomes readable with the first request.
    pub(crate) source: mio::net::TcpStream,
}

impl Interrupts {
    /// Handles Ctrl-C from now on.
    pub(crate) fn listen() -> io::Result<Self> {
        let is_asked = Arc::new(AtomicBool::new(false));
        let (source, mut end) = pair()?;
        let asked = Arc::clone(&is_asked);
        ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::Relaxed) {
                std::process::exit(Status::Signal(SIGINT).code().into());
            }
            // The event loop may have ended, and then nobody needs the request.
            let _ = end.write_all(&[0]);
        })
        .map_err(io::Error::other)?;
        Ok(Self { is_asked, source })
    }

    /// Returns the exit status for Ctrl-C, or `None` before Ctrl-C.
    pub(crate) fn asked(&self) -> Option<Status> {
        let is_asked = self.is_asked.load(Ordering::Relaxed);
        is_asked.then_some(Status::Signal(SIGINT))
    }
}

/// A request to the broker. An administrator or the service manager sets the event of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// Ends the broker.
    Stop,
    /// Reads the configuration again.
    Reload,
    /// Writes the store.
    Save,
    /// Logs subscriptions and retained messages.
    Dump,
}

/// A named event of Windows, which every process of the same user can set.
pub(crate) struct Event(CloseHandleGuard<HEVENT>);

impl Event {
    /// Opens the event for a request to this process, and creates it if no other part of the process has done so. The
    /// names of the first two events are those of mosquitto, so that scripts that control mosquitto also work here.
    pub(crate) fn open(request: Request) -> io::Result<Self> {
        let name = match request {
            Request::Stop => "shutdown",
            Request::Reload => "reload",
            Request::Save => "backup",
            Request::Dump => "tree_print",
        };
        let name = format!("mosq{}_{name}", std::process::id());
        // The wait resets the event, so that each request is handled once.
        let event = HEVENT::CreateEvent(None, false, false, Some(&name));
        event.map(Self).map_err(system_error)
    }

    /// Sets the event, which sends the request.
    pub(crate) fn set(&self) -> io::Result<()> {
        self.0.SetEvent().map_err(system_error)
    }

    fn wait(&self) -> io::Result<()> {
        self.0
            .WaitForSingleObject(None)
            .map(drop)
            .map_err(system_error)
    }
}

fn system_error(error: winsafe::co::ERROR) -> io::Error {
    // The number of the error is unsigned in winsafe and signed in the standard library.
    io::Error::from_raw_os_error(error.raw().cast_signed())
}

/// The requests with which an administrator controls a service. Each socket becomes readable with its request.
#[derive(Debug)]
pub(crate) struct ServiceSignals {
    /// The caller must keep this socket while the broker runs.
    pub(crate) stop: Option<mio::net::TcpStream>,
    pub(crate) reload: mio::net::TcpStream,
    pub(crate) save: mio::net::TcpStream,
    pub(crate) dump: mio::net::TcpStream,
}

impl ServiceSignals {
    /// Handles the requests from now on. An earlier request is kept if the caller had opened its event before the
    /// request.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            stop: Some(source(Request::Stop)?),
            reload: source(Request::Reload)?,
            save: source(Request::Save)?,
            dump: source(Request::Dump)?,
        })
    }
}

/// Returns a socket that becomes readable with each request of this kind. A thread waits for the event, because the
/// event loop can wait for sockets only.
fn source(request: Request) -> io::Result<mio::net::TcpStream> {
    let event = Event::open(request)?;
    let (source, mut end) = pair()?;
    let thread = std::thread::Builder::new().name("events".to_owned());
    thread.spawn(move || while event.wait().and_then(|()| end.write_all(&[0])).is_ok() {})?;
    Ok(source)
}

/// Returns two connected sockets. Windows has no anonymous pairs of sockets, so a listener accepts the connection of the
/// same process.
fn pair() -> io::Result<(mio::net::TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let source = TcpStream::connect(listener.local_addr()?)?;
    let own = source.local_addr()?;
    // Other programs can connect to the listener too. The address of `source` identifies the connection of this
    // process.
    let end = loop {
        match listener.accept()? {
            (end, peer) if peer == own => break end,
            _ => {}
        }
    };
    source.set_nonblocking(true)?;
    Ok((mio::net::TcpStream::from_std(source), end))
}
