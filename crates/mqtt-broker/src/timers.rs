//! Deadlines of connections and clients. An entry that has been overtaken stays until its time
//! comes and is then found to be stale: moving a deadline back costs nothing, so a thousand idle
//! connections cost nothing for each turn.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Timers<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord> Timers<K> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
        }
    }

    /// `scheduled` is what its owner remembers of the entry that counts. It is replaced if the new
    /// deadline comes before it.
    pub(crate) fn schedule(
        &mut self,
        key: K,
        deadline: Option<Instant>,
        scheduled: &mut Option<Instant>,
    ) {
        if let Some(deadline) = deadline {
            if scheduled.is_none_or(|scheduled| deadline < scheduled) {
                *scheduled = Some(deadline);
                self.heap.push(Reverse((deadline, key)));
            }
        }
    }

    /// The next entry whose time has come.
    pub(crate) fn pop(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.first().is_none_or(|first| now < first) {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(crate) fn first(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((deadline, _))| *deadline)
    }
}
