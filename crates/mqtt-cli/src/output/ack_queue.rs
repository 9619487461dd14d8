//! Messages that were printed and are not acknowledged yet. An acknowledgement tells the broker that the message is on
//! standard output: if rsub is killed, the broker sends every message that was not written again.
//!
//! Printing fills `text`. [`AckQueue::advance`] gives the text to the thread that writes standard output, one block at a
//! time, and acknowledges the messages of a block when it is written. Meanwhile the next block fills.

use std::io;

use mqtt_client::EventLoop;
use mqtt_codec::Delivery;

use crate::output::stdout_thread::StdoutThread;

/// Length of the text from which on no further message is accepted. A reader that has stopped must not fill the memory.
const MAXIMUM_WAITING: usize = 1024 * 1024;

/// The printed text on its way to standard output, and the messages in it.
#[derive(Debug)]
pub(crate) struct AckQueue {
    /// The text of the next block.
    pub(crate) text: Vec<u8>,
    /// The messages in the next block.
    deliveries: Vec<Delivery>,
    /// The messages in the block that the thread writes.
    in_block: Vec<Delivery>,
    /// The length of the block that the thread writes.
    block_length: usize,
    stdout: StdoutThread,
}

impl AckQueue {
    pub(crate) fn new(stdout: StdoutThread) -> Self {
        Self {
            text: Vec::new(),
            deliveries: Vec::new(),
            in_block: Vec::new(),
            block_length: 0,
            stdout,
        }
    }

    /// Acknowledges the message when all text up to here is written. A message that printed nothing is acknowledged then
    /// too, so that acknowledgements keep the order of the messages, as MQTT requires.
    pub(crate) fn acknowledge_when_written(&mut self, delivery: Delivery) {
        // QoS 0 has nothing to acknowledge.
        if delivery.packet_identifier().is_some() {
            self.deliveries.push(delivery);
        }
    }

    /// Starts to write the next block if the last one is done, and acknowledges the messages of the last one.
    ///
    /// # Errors
    /// If standard output cannot be written.
    pub(crate) fn advance(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        if self.stdout.is_busy() {
            let Some(result) = self.stdout.poll(&mut self.text) else {
                return Ok(());
            };
            // Messages of a block that could not be written are never acknowledged.
            result?;
            self.block_length = 0;
            self.in_block
                .drain(..)
                .for_each(|delivery| event_loop.accept_message(delivery));
        }
        if self.text.is_empty() {
            // Nothing was printed since the last block, so these messages have nothing to wait for.
            self.deliveries
                .drain(..)
                .for_each(|delivery| event_loop.accept_message(delivery));
        } else {
            std::mem::swap(&mut self.deliveries, &mut self.in_block);
            self.block_length = self.text.len();
            self.stdout.write(&mut self.text);
        }
        Ok(())
    }

    /// Returns `true` if all text is written and all messages are acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.deliveries.is_empty() && !self.stdout.is_busy()
    }

    /// Returns `true` if `advance` would start to write.
    pub(crate) fn can_write(&self) -> bool {
        !self.text.is_empty() && !self.stdout.is_busy()
    }

    /// Returns the number of bytes that are not known to be written.
    pub(crate) fn waiting(&self) -> usize {
        self.text.len() + self.block_length
    }

    /// Returns `true` if no further message should be accepted.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= MAXIMUM_WAITING
    }
}
