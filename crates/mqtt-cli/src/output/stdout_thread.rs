//! Standard output, written by a thread of its own: a reader that takes nothing must not keep the
//! program from its network, its deadlines and its signals.
//!
//! One block is under way at a time, so what waits is bounded by who fills the next one.

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
    /// Starts the thread; it calls the waker when a block is written.
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (blocks, incoming) = sync_channel::<Vec<u8>>(1);
        let (outgoing, results) = sync_channel(1);
        thread::Builder::new()
            .name("output".into())
            .spawn(move || {
                for mut block in incoming {
                    let result = StandardOutput
                        .write_all(&block)
                        .and_then(|()| StandardOutput.flush());
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

    /// Whether a block is under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// Hands over a block; `buffer` is empty then. Not to be called while one is under way.
    pub(crate) fn write(&mut self, buffer: &mut Vec<u8>) {
        // The channel has room, and the thread lives as long as this.
        self.is_busy = self.blocks.try_send(std::mem::take(buffer)).is_ok();
    }

    /// How the block under way went, if it is done. Its memory is put into `buffer` if that has none.
    pub(crate) fn poll(&mut self, buffer: &mut Vec<u8>) -> Option<io::Result<()>> {
        let (block, result) = match self.results.try_recv() {
            Ok(done) => done,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => (Vec::new(), Err(io::ErrorKind::BrokenPipe.into())),
        };
        self.is_busy = false;
        if buffer.capacity() == 0 {
            *buffer = block;
        }
        Some(result)
    }
}
