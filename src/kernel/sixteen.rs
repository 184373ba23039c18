//! Forward for inference with recurrent weights in 16 bits, for processors that multiply such pairs in one instruction
//! (AVX-512 VNNI).
//!
//! A step of a wide layer waits for its weights, which outgrow the first-level cache: half the bytes are half the wait,
//! and one instruction does two products. A row of weights has a scale of its own; the hidden state, between -1 and 1,
//! is rounded to 1/16384. Sums of whole numbers are exact, so their order changes no bit. What is rounded away is less
//! than what storing weights as f16 rounds away: a row keeps 12 bits for a weight of average size.

use super::infer::Layer;
use super::layout::Panels;

/// What a hidden state of 1 is.
const ONE: f32 = 16384.0;

/// Pairs of inputs that are summed as whole numbers before the sum becomes a float.
pub(super) const CHUNK: usize = 16;

/// What the sizes of the weights of a chunk may add up to: times `ONE` this stays a 32-bit number, with room for the
/// rounding of each.
const LARGEST_SUM: f32 = 131_000.0;

/// The weights of two inputs for a register of units.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Line([[i16; 2]; 16]);

/// A recurrent weight, packed: lines `[panel][pair of inputs][4]` and for each gate what a sum is multiplied by.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    pub lines: Vec<Line>,
    /// `[panel][4 lanes]`.
    pub scales: Vec<f32>,
}

impl Weights {
    /// Packs `weight_hh` `[4 hidden, hidden]`, scaled as `panels` has it.
    pub fn pack(panels: Panels, weight: &[f32]) -> Self {
        let (hidden, lanes, pairs) = (panels.hidden, panels.lanes, panels.state_width() / 2);
        let mut lines = vec![Line::default(); panels.count() * pairs * 4];
        let mut scales = vec![0f32; panels.gate_width()];
        panels.for_each_row(|row, position, scale| {
            let values: Vec<f32> =
                weight[row * hidden..][..hidden].iter().map(|value| value * scale).collect();
            let sums =
                values.chunks(2 * CHUNK).map(|chunk| chunk.iter().map(|value| value.abs()).sum::<f32>());
            let unit = sums.fold(0.0, f32::max) / LARGEST_SUM;
            let largest = values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
            let unit = unit.max(largest / f32::from(i16::MAX));
            if unit == 0.0 {
                return;
            }
            scales[position] = unit / ONE;
            let (panel, gate, lane) =
                (position / (4 * lanes), position % (4 * lanes) / lanes, position % lanes);
            for (input, value) in values.iter().enumerate() {
                let line = &mut lines[(panel * pairs + input / 2) * 4 + gate];
                line.0[lane][input % 2] = (value / unit).round() as i16;
            }
        });
        Self { lines, scales }
    }
}

/// What all lanes share; `layer.weights` is not used.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
pub(super) struct SixteenLayer {
    pub layer: Layer,
    pub lines: *const Line,
    pub scales: *const f32,
    /// [`CHUNK`]; not known when this is compiled, or the compiler unrolls it into more sums than there are registers.
    pub chunk: usize,
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::asm;
    use std::arch::x86_64::*;

    use super::super::infer::Steps;
    use super::super::simd::{Avx512, Simd};
    use super::*;

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

    impl SixteenLayer {
        /// `sums += scales * (lines * h)` over the chunks `from..from + N` of `CHUNK` pairs, or of the `pairs` that
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
                let width = self.layer.panels * L;
                let lines = self.lines.add((panel * width / 2 + from * CHUNK) * 4).cast::<__m512i>();
                let h = h.add(width).cast::<i32>().add(from * CHUNK);
                let mut acc = [[[_mm512_setzero_si512(); 4]; R]; N];
                for pair in 0..pairs {
                    for n in 0..N {
                        let at = n * CHUNK + pair;
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

    impl Steps<Avx512> for SixteenLayer {
        fn layer(&self) -> &Layer {
            &self.layer
        }

        /// The hidden states, then their 16-bit form.
        fn stride(&self) -> usize {
            self.layer.panels * L * 3 / 2
        }

        #[inline(always)]
        unsafe fn note(&self, h: __m512, row: *mut f32, panel: usize) {
            // SAFETY: a row has `stride` floats, the upper third of them for the 16-bit form.
            unsafe {
                let whole = _mm512_cvtps_epi32(_mm512_mul_ps(h, _mm512_set1_ps(ONE)));
                let to = row.add(self.layer.panels * L).cast::<i16>().add(panel * L);
                _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(whole));
            }
        }

        #[inline(always)]
        unsafe fn multiply<const R: usize>(&self, sums: &mut [[__m512; 4]; R], panel: usize, h: *const f32) {
            // SAFETY: as the trait asks for it; chunks and rest are the pairs of the panel.
            unsafe {
                let pairs = self.layer.panels * L / 2;
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
}
