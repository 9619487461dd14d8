//! The thread that writes standard output. A reader that has stopped can block a write for hours. The program must
//! still serve its network, its deadlines and its signals.
//!
//! The thread gets one block at a time, and the caller fills another block meanwhile. So the caller bounds the memory.

use std::io::{self, Write};
use std::sync::Arc;

use mio::Waker;
use mqtt_transport::Worker;

use crate::output::standard_streams::StandardOutput;

/// The handle of the thread, which writes blocks to standard output one after the other.
#[derive(Debug)]
pub(crate) struct StdoutThread {
    worker: Worker<Vec<u8>, (Vec<u8>, io::Result<()>)>,
}

impl StdoutThread {
    /// Starts the thread, which calls the waker when a block is written.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let worker = Worker::start("output", waker, |mut block: Vec<u8>| {
            let result = StandardOutput
                .write_all(&block)
                .and_then(|()| StandardOutput.flush());
            // The result contains the empty block, so that the caller can fill it again.
            block.clear();
            (block, result)
        })?;
        Ok(Self { worker })
    }

    /// Returns `true` while the thread writes a block.
    pub(crate) fn is_busy(&self) -> bool {
        self.worker.is_busy()
    }

    /// Passes a block to the thread, and leaves `buffer` empty. The thread must not be busy.
    pub(crate) fn write(&mut self, buffer: &mut Vec<u8>) {
        debug_assert!(!self.is_busy(), "one block at a time");
        // `begin` does not fail: the thread has no block, and it ends only after this value is dropped.
        let result = self.worker.begin(std::mem::take(buffer));
        debug_assert!(result.is_ok(), "the thread has ended");
    }

    /// Returns the result of the block if it is written. If `buffer` has no memory, it gets the memory of the block, so
    /// that two buffers serve all blocks.
    pub(crate) fn poll(&mut self, buffer: &mut Vec<u8>) -> Option<io::Result<()>> {
        // Only a panic can end the thread without a result.
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
