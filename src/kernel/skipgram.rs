//! Skip-gram with negative sampling (Mikolov et al. 2013), one window at a time.
//!
//! The words around a position are to tell its word from words drawn at random. All of them share the draw, so that a
//! window is a small matrix product: with contexts `c_i` and targets `t_j` (the first the true word, label 1)
//!
//! ```text
//! g_ij = rate (label_j - sigmoid(c_i . t_j))     c_i += sum_j g_ij t_j     t_j += sum_i g_ij c_i
//! ```

use super::dispatch::{self, Isa};
use super::layout::AlignedVec;
use super::simd::Simd;

/// Most contexts in a window.
pub const MAX_CONTEXTS: usize = 32;
/// Most targets in a window, the true word included.
pub const MAX_TARGETS: usize = 16;

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

/// One window as raw parts that [`SkipGram::train`] has checked.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub contexts: *mut f32,
    pub targets: *mut f32,
    /// `MAX_CONTEXTS * MAX_TARGETS` floats for the products, then `MAX_CONTEXTS` rows for the old contexts.
    pub scratch: *mut f32,
    pub width: usize,
    pub rate: f32,
}

impl SkipGram {
    /// Vectors that start from `contexts` `[words, dim]`; those of the targets start from zero.
    ///
    /// # Panics
    /// When `contexts` is not whole rows.
    pub fn new(isa: Isa, dim: usize, contexts: &[f32]) -> Self {
        assert!(dim > 0 && contexts.len().is_multiple_of(dim), "whole rows");
        let width = dim.next_multiple_of(16);
        let words = contexts.len() / dim;
        let mut padded = AlignedVec::zeros(words * width);
        for (to, from) in padded.chunks_exact_mut(width).zip(contexts.chunks_exact(dim)) {
            to[..dim].copy_from_slice(from);
        }
        let scratch = AlignedVec::zeros(MAX_CONTEXTS * MAX_TARGETS + MAX_CONTEXTS * width);
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

/// See [`SkipGram::train`].
///
/// # Safety
/// As [`Simd`]; `width` is a multiple of 16, rows and scratch lie within their buffers.
#[inline(always)]
pub(super) unsafe fn window<S: Simd>(window: Window, contexts: &[u32], targets: &[u32]) {
    unsafe {
        let Window { width, rate, scratch, .. } = window;
        let old = scratch.add(MAX_CONTEXTS * MAX_TARGETS);
        let context = |i: usize| window.contexts.add(*contexts.get_unchecked(i) as usize * width);
        let target = |j: usize| window.targets.add(*targets.get_unchecked(j) as usize * width);
        // Dot products, one row of MAX_TARGETS per context.
        for i in 0..contexts.len() {
            let c = context(i);
            std::ptr::copy_nonoverlapping(c, old.add(i * width), width);
            for j in 0..targets.len() {
                let t = target(j);
                let (mut even, mut odd) = (S::splat(0.0), S::splat(0.0));
                let mut at = 0;
                while at + S::LANES < width {
                    even = S::fma(S::load(c.add(at)), S::load(t.add(at)), even);
                    let next = at + S::LANES;
                    odd = S::fma(S::load(c.add(next)), S::load(t.add(next)), odd);
                    at += 2 * S::LANES;
                }
                if at < width {
                    even = S::fma(S::load(c.add(at)), S::load(t.add(at)), even);
                }
                let mut lanes = [0.0f32; 16];
                S::store(lanes.as_mut_ptr(), S::add(even, odd));
                let mut sum = 0.0;
                for lane in lanes.iter().take(S::LANES) {
                    sum += lane;
                }
                *scratch.add(i * MAX_TARGETS + j) = sum;
            }
        }
        // Gradients in their place.
        for i in 0..contexts.len() {
            let row = scratch.add(i * MAX_TARGETS);
            let mut at = 0;
            while at < MAX_TARGETS {
                let product = S::load(row.add(at));
                let guess = S::sigmoid(S::mul(product, S::splat(S::SIGMOID_SCALE)));
                S::store(row.add(at), S::mul(S::sub(S::splat(0.0), guess), S::splat(rate)));
                at += S::LANES;
            }
            *row += rate;
        }
        for i in 0..contexts.len() {
            let c = context(i);
            for j in 0..targets.len() {
                add::<S>(c, target(j), *scratch.add(i * MAX_TARGETS + j), width);
            }
        }
        for j in 0..targets.len() {
            let t = target(j);
            for i in 0..contexts.len() {
                add::<S>(t, old.add(i * width), *scratch.add(i * MAX_TARGETS + j), width);
            }
        }
    }
}

/// `to += factor * from`.
#[inline(always)]
unsafe fn add<S: Simd>(to: *mut f32, from: *const f32, factor: f32, width: usize) {
    unsafe {
        let factor = S::splat(factor);
        let mut at = 0;
        while at < width {
            S::store(to.add(at), S::fma(factor, S::load(from.add(at)), S::load(to.add(at))));
            at += S::LANES;
        }
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
