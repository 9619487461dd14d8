//! [`BlockQueue`]: a queue that is a list of blocks with at most 32 entries each.
//!
//! A `VecDeque` that grows allocates a larger buffer, moves its entries, and frees the old buffer, which is too small
//! for the next growth. If thousands of queues grow at the same time, they take about twice the memory of their
//! entries. A `BlockQueue` adds a block instead, and moves nothing.

use std::collections::VecDeque;

/// Maximum number of entries in a block.
const BLOCK: usize = 32;

/// A queue of entries, in blocks.
#[derive(Debug)]
pub(crate) struct BlockQueue<T> {
    /// The first block. It is empty only if the whole queue is empty, and keeps its memory for the next entry then.
    first: VecDeque<T>,
    /// The blocks after the first one, none of which is empty.
    others: VecDeque<VecDeque<T>>,
    len: usize,
}

impl<T> Default for BlockQueue<T> {
    fn default() -> Self {
        Self {
            first: VecDeque::new(),
            others: VecDeque::new(),
            len: 0,
        }
    }
}

impl<T> BlockQueue<T> {
    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.first.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(self.others.iter().flatten())
    }

    pub(crate) fn push_back(&mut self, entry: T) {
        self.len += 1;
        let last = self.others.back_mut().unwrap_or(&mut self.first);
        if last.len() < BLOCK {
            return last.push_back(entry);
        }
        let mut block = VecDeque::with_capacity(BLOCK);
        block.push_back(entry);
        self.others.push_back(block);
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        self.len += 1;
        // A full first block becomes the second one.
        if self.first.len() >= BLOCK {
            let full = std::mem::take(&mut self.first);
            self.others.push_front(full);
        }
        self.first.push_front(entry);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let entry = self.first.pop_front()?;
        self.len -= 1;
        if self.first.is_empty() {
            if let Some(next) = self.others.pop_front() {
                self.first = next;
            }
        }
        Some(entry)
    }
}

impl<T> IntoIterator for BlockQueue<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::collections::vec_deque::IntoIter<VecDeque<T>>>;

    fn into_iter(mut self) -> Self::IntoIter {
        self.others.push_front(self.first);
        self.others.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn block_queue_agrees_with_a_vec_deque(
            steps in prop::collection::vec((0..5_u8, 1..50_usize), 0..60),
        ) {
            let (mut blocks, mut plain) = (BlockQueue::default(), VecDeque::new());
            for (step, count) in steps {
                for number in 0..count {
                    match step {
                        0 | 1 => {
                            blocks.push_back(number);
                            plain.push_back(number);
                        }
                        2 => {
                            blocks.push_front(number);
                            plain.push_front(number);
                        }
                        _ => prop_assert_eq!(blocks.pop_front(), plain.pop_front()),
                    }
                }
                prop_assert_eq!(blocks.len(), plain.len());
                prop_assert_eq!(blocks.is_empty(), plain.is_empty());
                prop_assert_eq!(blocks.front(), plain.front());
                prop_assert!(blocks.iter().eq(&plain));
            }
            prop_assert!(blocks.into_iter().eq(plain));
        }
    }
}
