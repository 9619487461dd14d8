//! [`BlockQueue`]: a queue in blocks. A queue that grows moves nothing and leaves no memory behind that is too small for
//! the next size: thousands of queues that grow together would otherwise take twice their bytes.

use std::collections::VecDeque;

/// The entries of a block.
const BLOCK: usize = 32;

#[derive(Debug)]
pub(crate) struct BlockQueue<T> {
    /// None of them is empty, but for the only one: a queue that has one message at a time allocates once.
    blocks: VecDeque<VecDeque<T>>,
}

impl<T> Default for BlockQueue<T> {
    fn default() -> Self {
        Self {
            blocks: VecDeque::new(),
        }
    }
}

impl<T> BlockQueue<T> {
    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        let ends = |first: &VecDeque<T>| match self.blocks.len() {
            1 => first.len(),
            // Only the first and the last block may have room.
            count => {
                first.len() + (count - 2) * BLOCK + self.blocks.back().map_or(0, VecDeque::len)
            }
        };
        self.blocks.front().map_or(0, ends)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.front().is_none()
    }

    pub(crate) fn front(&self) -> Option<&T> {
        self.blocks.front()?.front()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.blocks.iter().flatten()
    }

    pub(crate) fn push_back(&mut self, entry: T) {
        match self.blocks.back_mut().filter(|last| last.len() < BLOCK) {
            Some(last) => last.push_back(entry),
            None => {
                let block = self.block_of(entry);
                self.blocks.push_back(block);
            }
        }
    }

    pub(crate) fn push_front(&mut self, entry: T) {
        match self.blocks.front_mut().filter(|first| first.len() < BLOCK) {
            Some(first) => first.push_front(entry),
            None => {
                let block = self.block_of(entry);
                self.blocks.push_front(block);
            }
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let first = self.blocks.front_mut()?;
        let entry = first.pop_front();
        if first.is_empty() && self.blocks.len() > 1 {
            self.blocks.pop_front();
        }
        entry
    }

    /// Returns a new block. Only the first one of a queue is smaller than the others, as most queues are short.
    fn block_of(&self, entry: T) -> VecDeque<T> {
        let capacity = match self.blocks.is_empty() {
            true => 1,
            false => BLOCK,
        };
        let mut block = VecDeque::with_capacity(capacity);
        block.push_back(entry);
        block
    }
}

impl<T> IntoIterator for BlockQueue<T> {
    type Item = T;
    type IntoIter = std::iter::Flatten<std::collections::vec_deque::IntoIter<VecDeque<T>>>;

    fn into_iter(self) -> Self::IntoIter {
        self.blocks.into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_block_queue_agrees_with_a_queue(
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
