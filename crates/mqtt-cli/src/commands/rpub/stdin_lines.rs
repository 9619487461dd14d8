//! Reads the lines of standard input for `rpub -l` without blocking the event loop.
//!
//! A thread reads large blocks into a bounded channel and wakes the event loop. Lines are slices of the blocks, so a
//! line is copied only if it spans two blocks. A line may contain any bytes except the newline.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use bytes::{Bytes, BytesMut};
use mio::Waker;

use crate::flags::settings::message::MAXIMUM_PAYLOAD;

const BLOCK_SIZE: usize = 64 * 1024;

/// Maximum number of blocks that wait in the channel. If the publisher is slower than the input, the full channel stops
/// the thread.
const BLOCKS: usize = 4;

/// The lines that the thread reads.
#[derive(Debug)]
pub(crate) struct StdinLines {
    blocks: Receiver<io::Result<Bytes>>,
    /// The byte that ends a line.
    separator: u8,
    block: Bytes,
    /// The start of a line that continues in the next block.
    partial: BytesMut,
    ended: bool,
}

/// The next line, or the reason why no line is available.
#[derive(Debug)]
pub(crate) enum NextLine {
    Line(Bytes),
    /// No line has arrived. The waker is called when there is more input.
    Pending,
    /// The input has ended, and all lines were returned.
    End,
    /// The input cannot be read any further.
    Failed(io::Error),
}

impl StdinLines {
    /// Starts the thread. The thread ends with the input, or when this value is dropped.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(crate) fn start(
        mut input: impl Read + Send + 'static,
        separator: u8,
        waker: Arc<Waker>,
    ) -> io::Result<Self> {
        let (sender, blocks) = sync_channel(BLOCKS);
        thread::Builder::new().name("input".into()).spawn(move || {
            loop {
                // Each read gets a new block, because lines that wait for the broker still refer to the old blocks.
                let mut block = vec![0; BLOCK_SIZE];
                let result = match input.read(&mut block) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    result => result,
                };
                // An empty block marks the end of the input. After an error nothing more is read.
                let is_last = !matches!(result, Ok(1..));
                let item = result.map(|length| {
                    block.truncate(length);
                    Bytes::from(block)
                });
                if sender.send(item).is_err() || waker.wake().is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self {
            blocks,
            separator,
            block: Bytes::new(),
            partial: BytesMut::new(),
            ended: false,
        })
    }

    /// Returns the next line if it has arrived.
    pub(crate) fn next(&mut self) -> NextLine {
        loop {
            if let Some(end) = memchr::memchr(self.separator, &self.block) {
                // `split_to` copies nothing: the line shares the memory of the block.
                let mut line = self.block.split_to(end + 1);
                line.truncate(end);
                return NextLine::Line(self.with_partial(line));
            }
            let rest = std::mem::take(&mut self.block);
            // The length is checked before the bytes are copied. Otherwise an input without newlines would fill the
            // memory.
            if self.partial.len() + rest.len() > MAXIMUM_PAYLOAD {
                self.ended = true;
                self.partial.clear();
                let text = "a line is longer than 268435455 bytes";
                return NextLine::Failed(io::Error::other(text));
            }
            self.partial.extend_from_slice(&rest);
            if self.ended {
                return NextLine::End;
            }
            match self.blocks.try_recv() {
                Ok(Ok(block)) if block.is_empty() => self.ended = true,
                Ok(Ok(block)) => self.block = block,
                Ok(Err(error)) => {
                    self.ended = true;
                    return NextLine::Failed(error);
                }
                Err(TryRecvError::Empty) => return NextLine::Pending,
                Err(TryRecvError::Disconnected) => self.ended = true,
            }
            if self.ended && !self.partial.is_empty() {
                // The last line may have no newline.
                return NextLine::Line(self.with_partial(Bytes::new()));
            }
        }
    }

    /// Returns a complete line: the part that earlier blocks contained, followed by `line`.
    fn with_partial(&mut self, line: Bytes) -> Bytes {
        if self.partial.is_empty() {
            return line;
        }
        self.partial.extend_from_slice(&line);
        self.partial.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    /// A reader that returns one piece at each read.
    struct Pieces(Vec<&'static [u8]>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return Ok(0);
            }
            let piece = self.0.remove(0);
            buffer[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        }
    }

    fn lines(pieces: &[&'static [u8]]) -> Vec<Vec<u8>> {
        let mut poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        // This function keeps a waker, because dropping the last one can lose a wake-up.
        let mut input =
            StdinLines::start(Pieces(pieces.to_vec()), b'\n', Arc::clone(&waker)).unwrap();
        let mut lines = Vec::new();
        loop {
            match input.next() {
                NextLine::Line(line) => lines.push(line.to_vec()),
                NextLine::Pending => poll.poll(&mut Events::with_capacity(1), None).unwrap(),
                NextLine::End => return lines,
                NextLine::Failed(error) => panic!("{error}"),
            }
        }
    }

    #[test]
    fn lines_are_complete_for_every_split_of_the_input() {
        assert_eq!(
            lines(&[b"a\nb", b"c\n\n", b"d", b"e", b"f\n"]),
            [&b"a"[..], b"bc", b"", b"def"]
        );
    }

    #[test]
    fn last_line_without_newline_is_a_line_and_empty_input_has_none() {
        assert_eq!(lines(&[b"a\nb"]), [b"a", b"b"]);
        assert_eq!(lines(&[b"\n"]), [b""]);
        assert_eq!(lines(&[]), [b""; 0]);
    }

    #[test]
    fn lines_may_have_every_byte_value() {
        assert_eq!(
            lines(&[b"a\0b\r\n\xFF\xFE\n\r"]),
            [&b"a\0b\r"[..], b"\xFF\xFE", b"\r"]
        );
    }
}
