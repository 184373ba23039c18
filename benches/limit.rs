//! The multiply-add limit: what one core needs at least for the recurrence's products, measured.

// What is measured is single instructions.
#![allow(unsafe_code)]

use std::time::Instant;

/// Shortest time in seconds for the `steps * 4 * hidden * hidden` multiply-adds of a recurrence whose weights lie in
/// the first-level cache: sixteen independent chains, nothing else.
pub fn multiply_add_limit(steps: usize, hidden: usize) -> f64 {
    let weights = vec![1.0f32; 4 * hidden * hidden + 16];
    let aligned = weights.as_ptr().align_offset(64);
    let weights = &weights[aligned..aligned + 4 * hidden * hidden];
    let mut shortest = f64::INFINITY;
    for _ in 0..50 {
        let from = Instant::now();
        std::hint::black_box(products(weights, steps));
        shortest = shortest.min(from.elapsed().as_secs_f64());
    }
    shortest
}

#[cfg(target_arch = "x86_64")]
fn products(weights: &[f32], steps: usize) -> f32 {
    // SAFETY: each is called only where the processor has what it is compiled for.
    unsafe {
        if is_x86_feature_detected!("avx512f") {
            avx512(weights, steps)
        } else if is_x86_feature_detected!("fma") {
            avx2(weights, steps)
        } else {
            chains::<16>(weights, steps, |a, b, c| a * b + c)
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn products(weights: &[f32], steps: usize) -> f32 {
    chains::<16>(weights, steps, |a, b, c| a * b + c)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512(weights: &[f32], steps: usize) -> f32 {
    use std::arch::x86_64::*;
    let (mut sums, value) = ([_mm512_setzero_ps(); 16], _mm512_set1_ps(1e-9));
    for _ in 0..steps {
        for block in weights.chunks_exact(256) {
            for (at, sum) in sums.iter_mut().enumerate() {
                // SAFETY: a block has 16 registers of 16 floats.
                let weight = unsafe { _mm512_loadu_ps(block.as_ptr().add(16 * at)) };
                *sum = _mm512_fmadd_ps(weight, value, *sum);
            }
        }
    }
    sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(weights: &[f32], steps: usize) -> f32 {
    chains::<8>(weights, steps, f32::mul_add)
}

/// The same in a form that the compiler vectorises.
#[inline(always)]
fn chains<const LANES: usize>(weights: &[f32], steps: usize, fma: impl Fn(f32, f32, f32) -> f32) -> f32 {
    let mut sums = [[0.0f32; LANES]; 12];
    for _ in 0..steps {
        for block in weights.chunks_exact(12 * LANES) {
            for (sum, weights) in sums.iter_mut().zip(block.chunks_exact(LANES)) {
                for lane in 0..LANES {
                    sum[lane] = fma(weights[lane], 1e-9, sum[lane]);
                }
            }
        }
    }
    sums.iter().flatten().sum()
}
