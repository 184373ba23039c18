//! Any number of panels, up to six sequences in step.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::super::simd::{Avx512, Simd};
use super::super::infer::{Layer, RecurrentProduct};
use super::{PAIRS_PER_SUM, QuantizedLayer, cell};

const L: usize = Avx512::LANES;

/// Chunks that a lone sequence sums side by side: a sum waits for the one before it, four sums do not.
const SIDE_BY_SIDE: usize = 4;

/// Adds the two products of each pair to `acc`.
///
/// In assembly because the compiler takes the intrinsic apart into a product and a sum to shorten a chain that is
/// short enough, which costs a second instruction.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn add_products(acc: __m512i, weights: __m512i, values: __m512i) -> __m512i {
    let mut sum = acc;
    // SAFETY: register-to-register arithmetic.
    unsafe {
        asm!(
            "vpdpwssd {sum}, {weights}, {values}",
            sum = inout(zmm_reg) sum, weights = in(zmm_reg) weights, values = in(zmm_reg) values,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

impl QuantizedLayer {
    /// `sums += scales * (lines * h)` over the chunks `from..from + N` of `PAIRS_PER_SUM` pairs, or of the `pairs` that
    /// are left.
    #[inline(always)]
    unsafe fn chunks<const R: usize, const N: usize>(
        &self,
        sums: &mut [[__m512; 4]; R],
        panel: usize,
        h: *const f32,
        from: usize,
        pairs: usize,
    ) {
        // SAFETY: the panel has `panels * L / 2` pairs of four lines, each row as many pairs behind its states.
        unsafe {
            let width = self.shared.panels * L;
            let lines = self.lines.add((panel * width / 2 + from * PAIRS_PER_SUM) * 4).cast::<__m512i>();
            let h = h.add(width).cast::<i32>().add(from * PAIRS_PER_SUM);
            let mut acc = [[[_mm512_setzero_si512(); 4]; R]; N];
            for pair in 0..pairs {
                for n in 0..N {
                    let at = n * PAIRS_PER_SUM + pair;
                    let mut column = [_mm512_setzero_si512(); 4];
                    for g in 0..4 {
                        column[g] = _mm512_load_si512(lines.add(at * 4 + g));
                    }
                    for r in 0..R {
                        let value = _mm512_set1_epi32(h.add(r * self.stride() + at).read_unaligned());
                        for g in 0..4 {
                            acc[n][r][g] = add_products(acc[n][r][g], column[g], value);
                        }
                    }
                }
            }
            for n in 0..N {
                for g in 0..4 {
                    let scale = Avx512::load(self.scales.add((panel * 4 + g) * L));
                    for r in 0..R {
                        sums[r][g] = Avx512::fma(_mm512_cvtepi32_ps(acc[n][r][g]), scale, sums[r][g]);
                    }
                }
            }
        }
    }
}

impl RecurrentProduct<Avx512> for QuantizedLayer {
    fn layer(&self) -> &Layer {
        &self.shared
    }

    /// The hidden states, then their 16-bit form.
    fn stride(&self) -> usize {
        self.shared.panels * L * 3 / 2
    }

    #[inline(always)]
    unsafe fn store_hidden(&self, h: __m512, row: *mut f32, panel: usize) {
        // SAFETY: a row has `stride` floats, the upper third of them for the 16-bit form.
        unsafe {
            let to = row.add(self.shared.panels * L).cast::<i16>().add(panel * L);
            _mm256_storeu_si256(to.cast(), cell::round_to_16_bits(h));
        }
    }

    #[inline(always)]
    unsafe fn cell(&self, gates: [__m512; 4], c: __m512) -> (__m512, __m512) {
        // SAFETY: as the trait asks for it.
        unsafe { cell::cell(gates, c) }
    }

    #[inline(always)]
    unsafe fn multiply<const R: usize>(&self, sums: &mut [[__m512; 4]; R], panel: usize, h: *const f32) {
        // SAFETY: as the trait asks for it; chunks and rest are the pairs of the panel.
        unsafe {
            let pairs = self.shared.panels * L / 2;
            let (mut chunk, whole) = (0, pairs / self.chunk);
            if R == 1 {
                while chunk + SIDE_BY_SIDE <= whole {
                    self.chunks::<R, SIDE_BY_SIDE>(sums, panel, h, chunk, self.chunk);
                    chunk += SIDE_BY_SIDE;
                }
            }
            while chunk < whole {
                self.chunks::<R, 1>(sums, panel, h, chunk, self.chunk);
                chunk += 1;
            }
            let rest = pairs % self.chunk;
            if rest > 0 {
                self.chunks::<R, 1>(sums, panel, h, chunk, rest);
            }
        }
    }
}
