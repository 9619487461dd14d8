//! Turns signals into event sources of an event loop. The first SIGINT or SIGTERM, on Windows Ctrl-C, requests the end of
//! a program. The second one ends the process immediately, in case the program hangs.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Interrupts, ServiceSignals};
#[cfg(windows)]
pub(crate) use windows::{Event, Interrupts, Request, ServiceSignals};
