//! The messages that were printed and are not acknowledged yet. An acknowledgement means that the message is on
//! standard output. So if rsub is killed, a broker with a session resends every message that was not written.
//!
//! Printing appends to `text`. [`AckQueue::advance`] passes the text to the thread that writes standard output, one
//! block at a time. When a block is written, `advance` acknowledges the messages of the block. New text is collected in
//! the next block meanwhile.

use std::io;

use mqtt_client::EventLoop;
use mqtt_codec::Delivery;

use crate::output::stdout_thread::StdoutThread;

/// Length of the text at which no further message is accepted, so that memory stays bounded if the reader has stopped.
const MAXIMUM_WAITING: usize = 1024 * 1024;

/// The printed text that is not written yet, and the messages in it.
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

    /// Acknowledges the message when all text so far is written. A message that printed nothing waits, too, because
    /// acknowledgements must have the order of the messages [MQTT-4.6.0-2, MQTT-4.6.0-3].
    pub(crate) fn acknowledge_when_written(&mut self, delivery: Delivery) {
        // A message of QoS 0 is not acknowledged.
        if delivery.packet_identifier().is_some() {
            self.deliveries.push(delivery);
        }
    }

    /// Passes the next block to the thread if the last block is written, and acknowledges the messages of the last
    /// block.
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
                .for_each(|delivery| event_loop.acknowledge(delivery));
        }
        if self.text.is_empty() {
            // These messages printed nothing, and all text before them is written.
            self.deliveries
                .drain(..)
                .for_each(|delivery| event_loop.acknowledge(delivery));
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

    /// Returns `true` if `advance` would pass a block to the thread.
    pub(crate) fn can_write(&self) -> bool {
        !self.text.is_empty() && !self.stdout.is_busy()
    }

    /// Returns the number of bytes that may not be written yet.
    pub(crate) fn waiting(&self) -> usize {
        self.text.len() + self.block_length
    }

    /// Returns `true` if no further message should be accepted.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= MAXIMUM_WAITING
    }
}
