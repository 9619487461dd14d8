//! The thread that writes standard output. A reader that has stopped can block a write for hours, and must not keep the
//! program from its network, its deadlines and its signals.
//!
//! The thread gets one block at a time. So the caller bounds the memory: it has one block more, which it fills.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use mio::Waker;

use crate::output::standard_streams::StandardOutput;

/// Writes blocks to standard output, one after the other.
#[derive(Debug)]
pub(crate) struct StdoutThread {
    blocks: SyncSender<Vec<u8>>,
    results: Receiver<(Vec<u8>, io::Result<()>)>,
    is_busy: bool,
}

impl StdoutThread {
    /// Starts the thread, which calls the waker when a block is written.
    ///
    /// # Errors
    /// If the system has no room for a thread.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        // Room for one block in each direction, so that neither side ever waits for the other in `send`.
        let (blocks, incoming) = sync_channel::<Vec<u8>>(1);
        let (outgoing, results) = sync_channel(1);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                for mut block in incoming {
                    let result = StandardOutput
                        .write_all(&block)
                        .and_then(|()| StandardOutput.flush());
                    // The empty block goes back with the result, to be filled again.
                    block.clear();
                    if outgoing.send((block, result)).is_err() || waker.wake().is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self {
            blocks,
            results,
            is_busy: false,
        })
    }

    /// Returns `true` while the thread writes a block.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Gives a block to the thread, and leaves `buffer` empty. The caller must not call it while the thread is busy.
    pub(crate) fn write(&mut self, buffer: &mut Vec<u8>) {
        debug_assert!(!self.is_busy, "one block at a time");
        // The channel has room for a block, and the thread ends only after this value is dropped.
        self.is_busy = self.blocks.try_send(std::mem::take(buffer)).is_ok();
    }

    /// Returns the result of the block if it is written. `buffer` gets the memory of the block if it has none, so that two
    /// buffers serve all blocks.
    pub(crate) fn poll(&mut self, buffer: &mut Vec<u8>) -> Option<io::Result<()>> {
        let (block, result) = match self.results.try_recv() {
            Ok(done) => done,
            Err(TryRecvError::Empty) => return None,
            // The thread ends without a result only if it panics.
            Err(TryRecvError::Disconnected) => (Vec::new(), Err(io::ErrorKind::BrokenPipe.into())),
        };
        self.is_busy = false;
        if buffer.capacity() == 0 {
            *buffer = block;
        }
        Some(result)
    }
}
