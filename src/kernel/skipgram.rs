//! Skip-gram with negative sampling (Mikolov et al. 2013), one window at a time.
//!
//! The words around a position are to tell its word from words drawn at random. All of them share the draw, so that a
//! window is a small matrix product: with contexts `c_i` and targets `t_j` (the first the true word, label 1)
//!
//! ```text
//! g_ij = rate (label_j - sigmoid(c_i . t_j))     c_i += sum_j g_ij t_j     t_j += sum_i g_ij c_i
//! ```

use super::dispatch;
use super::isa::Isa;
use super::layout::AlignedVec;
use super::loops::skipgram::Window;
pub use super::loops::skipgram::{MAX_CONTEXTS, MAX_TARGETS};

/// Vectors in training: one per word as context, one per word as target.
#[derive(Clone, Debug)]
pub struct SkipGram {
    isa: Isa,
    dim: usize,
    /// `dim` rounded up to whole registers; what is beyond `dim` stays zero.
    width: usize,
    contexts: AlignedVec,
    targets: AlignedVec,
    scratch: AlignedVec,
}

impl SkipGram {
    /// Vectors that start from `contexts` `[words, dim]`; those of the targets start from zero.
    ///
    /// # Panics
    /// When `contexts` is not whole rows.
    pub fn new(isa: Isa, dim: usize, contexts: &[f32]) -> Self {
        assert!(dim > 0 && contexts.len().is_multiple_of(dim), "whole rows");
        let width = dim.checked_next_multiple_of(16).expect("a dimension that fits memory");
        let words = contexts.len() / dim;
        let mut padded = AlignedVec::zeros(words * width);
        for (to, from) in padded.chunks_exact_mut(width).zip(contexts.chunks_exact(dim)) {
            to[..dim].copy_from_slice(from);
        }
        let rows = MAX_CONTEXTS.checked_mul(width).expect("a dimension that fits memory");
        let scratch = AlignedVec::zeros(MAX_CONTEXTS * MAX_TARGETS + rows);
        Self { isa, dim, width, contexts: padded, targets: AlignedVec::zeros(words * width), scratch }
    }

    /// Learns from one window; the first of `targets` is the true word.
    ///
    /// # Panics
    /// When there are more contexts or targets than fit, or a word is out of range.
    pub fn train(&mut self, contexts: &[u32], targets: &[u32], rate: f32) {
        let words = self.contexts.len() / self.width;
        assert!(contexts.len() <= MAX_CONTEXTS && targets.len() <= MAX_TARGETS, "size of a window");
        assert!(contexts.iter().chain(targets).all(|&word| (word as usize) < words), "a word out of range");
        let window = Window {
            contexts: self.contexts.as_mut_ptr(),
            targets: self.targets.as_mut_ptr(),
            scratch: self.scratch.as_mut_ptr(),
            width: self.width,
            rate,
        };
        // SAFETY: words and sizes were checked above; the buffers were sized by `new`.
        unsafe { dispatch::skip_gram(self.isa, window, contexts, targets) }
    }

    /// The vectors of the words as contexts, `[words, dim]`.
    pub fn vectors(&self) -> Vec<f32> {
        self.contexts.chunks_exact(self.width).flat_map(|row| &row[..self.dim]).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_moves_as_the_equations_say() {
        for isa in Isa::available() {
            let (dim, words) = (20, 5);
            let start: Vec<f32> = (0..dim * words).map(|at| ((at * 37 % 101) as f32 - 50.0) / 60.0).collect();
            let mut vectors = SkipGram::new(isa, dim, &start);
            // Targets start from zero: the first window moves them alone, the second both.
            vectors.train(&[0, 3], &[1, 4, 2], 0.5);
            let targets: Vec<f32> = vectors.targets.clone().to_vec();
            vectors.train(&[0, 3], &[1, 2], 0.5);
            for (i, word) in [0usize, 3].into_iter().enumerate() {
                let c = &start[word * dim..][..dim];
                let mut expected = c.to_vec();
                for (word, label) in [(1usize, 1.0f32), (2, 0.0)] {
                    let t = &targets[word * vectors.width..][..dim];
                    let dot: f32 = c.iter().zip(t).map(|(c, t)| c * t).sum();
                    let g = 0.5 * (label - 1.0 / (1.0 + (-dot).exp()));
                    expected.iter_mut().zip(t).for_each(|(e, t)| *e += g * t);
                }
                let actual = &vectors.vectors()[word * dim..][..dim];
                for (a, e) in actual.iter().zip(&expected) {
                    assert!((a - e).abs() < 1e-5, "{isa:?} context {i}: {a} {e}");
                }
            }
        }
    }
}
