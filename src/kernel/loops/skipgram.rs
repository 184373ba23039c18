//! One window of skip-gram: dot products, their gradients, and both sides' steps along them.

use super::super::simd::Simd;

/// Most contexts in a window.
pub const MAX_CONTEXTS: usize = 32;
/// Most targets in a window, the true word included.
pub const MAX_TARGETS: usize = 16;

/// One window as raw parts that `SkipGram::train` has checked.
#[derive(Clone, Copy)]
pub(in super::super) struct Window {
    pub contexts: *mut f32,
    pub targets: *mut f32,
    /// `MAX_CONTEXTS * MAX_TARGETS` floats for the products, then `MAX_CONTEXTS` rows for the old contexts.
    pub scratch: *mut f32,
    pub width: usize,
    pub rate: f32,
}

/// See `SkipGram::train`.
///
/// # Safety
/// As [`Simd`]; `width` is a multiple of 16, rows and scratch lie within their buffers.
#[inline(always)]
pub(in super::super) unsafe fn window<S: Simd>(window: Window, contexts: &[u32], targets: &[u32]) {
    // SAFETY: words lie within the vectors, of which each is `width` floats in whole registers; a window has at most
    // `MAX_CONTEXTS` rows and `MAX_TARGETS` columns of the scratch.
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
    // SAFETY: both rows are `width` floats, which is whole registers.
    unsafe {
        let factor = S::splat(factor);
        let mut at = 0;
        while at < width {
            S::store(to.add(at), S::fma(factor, S::load(from.add(at)), S::load(to.add(at))));
            at += S::LANES;
        }
    }
}
