//! What is printed and not written yet, and the messages that may be acknowledged when it is: an
//! acknowledgement promises that a message is on standard output.

use std::io;

use mqtt_client::EventLoop;
use mqtt_codec::Delivery;

use crate::output::stdout_thread::StdoutThread;

/// While so much waits for standard output no further message is taken.
const MAXIMUM_WAITING: usize = 1024 * 1024;

/// Text on its way to standard output.
#[derive(Debug)]
pub(crate) struct AckQueue {
    /// What the next write writes.
    pub(crate) text: Vec<u8>,
    /// The messages in it.
    deliveries: Vec<Delivery>,
    /// The messages in the block under way.
    under_way: Vec<Delivery>,
    /// Its length.
    block_length: usize,
    writer: StdoutThread,
}

impl AckQueue {
    pub(crate) fn new(writer: StdoutThread) -> Self {
        Self {
            text: Vec::new(),
            deliveries: Vec::new(),
            under_way: Vec::new(),
            block_length: 0,
            writer,
        }
    }

    /// The message whose text was put in last, or that has none, is acknowledged when all is written.
    pub(crate) fn acknowledge_when_written(&mut self, delivery: Delivery) {
        if delivery.packet_identifier().is_some() {
            self.deliveries.push(delivery);
        }
    }

    /// Writes what there is, as far as that does not block, and acknowledges what was written.
    ///
    /// # Errors
    /// If standard output takes no more.
    pub(crate) fn advance(&mut self, event_loop: &mut EventLoop) -> io::Result<()> {
        if self.writer.is_busy() {
            let Some(result) = self.writer.poll(&mut self.text) else {
                return Ok(());
            };
            result?;
            self.block_length = 0;
            self.under_way
                .drain(..)
                .for_each(|delivery| event_loop.accept_message(delivery));
        }
        if self.text.is_empty() {
            self.deliveries
                .drain(..)
                .for_each(|delivery| event_loop.accept_message(delivery));
        } else {
            std::mem::swap(&mut self.deliveries, &mut self.under_way);
            self.block_length = self.text.len();
            self.writer.write(&mut self.text);
        }
        Ok(())
    }

    /// Whether all was written and acknowledged.
    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty() && self.deliveries.is_empty() && !self.writer.is_busy()
    }

    /// Whether `advance` would write.
    pub(crate) fn can_write(&self) -> bool {
        !self.text.is_empty() && !self.writer.is_busy()
    }

    /// Bytes that are not given to the system yet.
    pub(crate) fn waiting(&self) -> usize {
        self.text.len() + self.block_length
    }

    /// Whether no further message should be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= MAXIMUM_WAITING
    }
}
