//! Buffers that go from one training step to the next.

use std::sync::Mutex;

use super::layout::AlignedVec;

/// Buffers that outlive a step, so that a training step need not ask the system for fresh, zeroed memory.
#[derive(Debug, Default)]
pub struct BufferPool(Mutex<Vec<AlignedVec>>);

impl BufferPool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AlignedVec>> {
        // A list of spare buffers has no state that a panic elsewhere could have broken.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// A buffer of `len` floats with unspecified contents: the smallest that is large enough.
    pub(super) fn take(&self, len: usize) -> AlignedVec {
        let mut buffers = self.lock();
        let fitting = (0..buffers.len()).filter(|&at| buffers[at].capacity() >= len);
        let Some(best) = fitting.min_by_key(|&at| buffers[at].capacity()) else {
            // In the place of one that is too small, so that there are never more than are in use at once.
            buffers.pop();
            drop(buffers);
            return AlignedVec::zeros(len);
        };
        let mut buffer = buffers.swap_remove(best);
        buffer.resize(len);
        buffer
    }

    pub(super) fn give(&self, buffers: impl IntoIterator<Item = AlignedVec>) {
        self.lock().extend(buffers);
    }
}
