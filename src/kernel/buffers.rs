//! Buffers that go from one training step, or one explanation, to the next.

use std::sync::Mutex;

use super::layout::AlignedVec;

/// Buffers that outlive a step, so that a training step or an explanation need not ask for fresh, zeroed memory.
#[derive(Debug, Default)]
pub struct BufferPool(Mutex<Vec<AlignedVec>>);

impl BufferPool {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<AlignedVec>> {
        // A list of spare buffers has no state that a panic elsewhere could have broken.
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// An empty pool.
    pub const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Frees the buffers that are not in use where they are larger than `bytes` together.
    pub fn keep_at_most(&self, bytes: usize) {
        let mut buffers = self.lock();
        if buffers.iter().map(|buffer| buffer.capacity() * size_of::<f32>()).sum::<usize>() > bytes {
            buffers.clear();
        }
    }

    /// A buffer of `len` floats with unspecified contents: the smallest that is large enough.
    pub fn take(&self, len: usize) -> AlignedVec {
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

    /// Takes buffers back.
    pub fn give(&self, buffers: impl IntoIterator<Item = AlignedVec>) {
        self.lock().extend(buffers);
    }
}
