//! The thread that writes standard output. A reader that has stopped can block a write for hours, and must not keep the
//! program from its network, its deadlines and its signals.
//!
//! The thread gets one block at a time. So the caller bounds the memory: it has one block more, which it fills.

use std::io::{self, Write};
use std::sync::Arc;

use mio::Waker;
use mqtt_transport::Worker;

use crate::output::standard_streams::StandardOutput;

/// Writes blocks to standard output, one after the other.
#[derive(Debug)]
pub(crate) struct StdoutThread {
    worker: Worker<Vec<u8>, (Vec<u8>, io::Result<()>)>,
}

impl StdoutThread {
    /// Starts the thread, which calls the waker when a block is written.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let worker = Worker::start("output", waker, |mut block: Vec<u8>| {
            let result = StandardOutput
                .write_all(&block)
                .and_then(|()| StandardOutput.flush());
            // The empty block goes back with the result, to be filled again.
            block.clear();
            (block, result)
        })?;
        Ok(Self { worker })
    }

    /// Returns `true` while the thread writes a block.
    pub(crate) fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    /// Gives a block to the thread, and leaves `buffer` empty. The caller must not call it while the thread is busy.
    pub(crate) fn write(&mut self, buffer: &mut Vec<u8>) {
        debug_assert!(!self.is_busy(), "one block at a time");
        // The thread takes the block: it has none, and it ends only after this value is dropped.
        let result = self.worker.begin(std::mem::take(buffer));
        debug_assert!(result.is_ok(), "the thread has ended");
    }

    /// Returns the result of the block if it is written. `buffer` gets the memory of the block if it has none, so that two
    /// buffers serve all blocks.
    pub(crate) fn poll(&mut self, buffer: &mut Vec<u8>) -> Option<io::Result<()>> {
        // The thread ends without a result only if it panics.
        let (block, result) = self
            .worker
            .poll()?
            .unwrap_or_else(|_| (Vec::new(), Err(io::ErrorKind::BrokenPipe.into())));
        if buffer.capacity() == 0 {
            *buffer = block;
        }
        Some(result)
    }
}
