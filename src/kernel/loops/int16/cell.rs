//! The LSTM cell on registers with the coarse table of tanh, and the state in 16 bits.

use std::arch::asm;
use std::arch::x86_64::*;

use super::super::super::simd::ROUND;
use super::super::super::simd::tanh_table::{COARSE, LIMIT, SCALE};
use super::ONE;

/// From `u`, what is 1 more than the scaled size, and `x` with the sign.
macro_rules! tanh_of {
    ($scaled:expr, [$($start:literal),+], $($name:ident = $class:ident $value:expr),+) => {{
        let row = |power: usize| COARSE.0[power].as_ptr();
        let mut result = $scaled;
        asm!(
            $($start,)+
            "vpsrld {a}, {u}, 20",
            "vmovdqa64 {p}, {a}",
            "vpermi2ps {p}, {l3}, {h3}",
            "vmovdqa64 {q}, {a}",
            "vpermi2ps {q}, {l2}, {h2}",
            "vfmadd213ps {p}, {u}, {q}",
            "vmovdqa64 {q}, {a}",
            "vpermi2ps {q}, {l1}, {h1}",
            "vfmadd213ps {p}, {u}, {q}",
            "vpermi2ps {a}, {l0}, {h0}",
            "vfmadd213ps {p}, {u}, {a}",
            // The sign of x over the size: sign ? x : p, bit by bit.
            "vpternlogd {x}, {p}, {sign}, 0xe4",
            x = inout(zmm_reg) result,
            u = out(zmm_reg) _, a = out(zmm_reg) _, p = out(zmm_reg) _, q = out(zmm_reg) _,
            one = in(zmm_reg) _mm512_set1_ps(1.0),
            $($name = in($class) $value,)+
            sign = in(zmm_reg) _mm512_castsi512_ps(_mm512_set1_epi32(i32::MIN)),
            l0 = in(zmm_reg) _mm512_load_ps(row(0)), h0 = in(zmm_reg) _mm512_load_ps(row(0).add(16)),
            l1 = in(zmm_reg) _mm512_load_ps(row(1)), h1 = in(zmm_reg) _mm512_load_ps(row(1).add(16)),
            l2 = in(zmm_reg) _mm512_load_ps(row(2)), h2 = in(zmm_reg) _mm512_load_ps(row(2).add(16)),
            l3 = in(zmm_reg) _mm512_load_ps(row(3)), h3 = in(zmm_reg) _mm512_load_ps(row(3).add(16)),
            options(pure, readonly, nostack, preserves_flags),
        );
        result
    }};
}

/// tanh of a number multiplied by [`SCALE`].
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn tanh(scaled: __m512) -> __m512 {
    // SAFETY: reads constants and whole aligned rows of a static table.
    unsafe {
        tanh_of!(
            scaled,
            // |x|, capped: the smaller of two magnitudes, its sign cleared.
            ["vrangeps {u}, {x}, {cap}, 10", "vaddps {u}, {u}, {one}"],
            cap = zmm_reg _mm512_set1_ps(LIMIT - 1.0)
        )
    }
}

/// tanh of half a number.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn tanh_of_half(doubled: __m512) -> __m512 {
    // SAFETY: as for `tanh`.
    unsafe {
        tanh_of!(
            doubled,
            ["vrangeps {u}, {x}, {cap}, 10", "vfmadd132ps {u}, {one}, {scale}"],
            cap = zmm_reg _mm512_set1_ps((LIMIT - 1.0) * 2.0 / SCALE),
            scale = zmm_reg _mm512_set1_ps(SCALE / 2.0)
        )
    }
}

/// One step of the cell from scaled pre-activations in the order i, f, g, o and twice the cell state: returns
/// `(h', 2 c')`.
///
/// With the sigmoid as `(1 + tanh(x/2)) / 2`, a product with one is a multiply-add and a half, which twice the cell
/// state has room for.
#[inline]
#[target_feature(enable = "avx512f,avx512dq")]
pub(super) unsafe fn cell([i, f, g, o]: [__m512; 4], c: __m512) -> (__m512, __m512) {
    // SAFETY: register-to-register arithmetic.
    unsafe {
        let half = _mm512_set1_ps(0.5);
        let (i, f, g, o) = (tanh(i), tanh(f), tanh(g), tanh(o));
        let doubled = _mm512_add_ps(_mm512_fmadd_ps(f, c, c), _mm512_fmadd_ps(i, g, g));
        let reach = _mm512_mul_ps(tanh_of_half(doubled), half);
        (_mm512_fmadd_ps(o, reach, reach), _mm512_mul_ps(doubled, half))
    }
}

/// The hidden state in units of 1/[`ONE`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) unsafe fn round_to_16_bits(h: __m512) -> __m256i {
    /// The lower word of each pair; what fills the upper half is not read.
    static EVEN: [i16; 32] = {
        let mut words = [0; 32];
        let mut word = 0;
        while word < 16 {
            words[word] = 2 * word as i16;
            word += 1;
        }
        words
    };
    let whole = _mm512_fmadd_ps(h, _mm512_set1_ps(ONE), _mm512_set1_ps(ROUND));
    // SAFETY: the load is of a whole static; the rest is register-to-register arithmetic. In assembly because the
    // compiler knows an instruction for this that takes two.
    unsafe {
        let mut packed = _mm512_loadu_si512(EVEN.as_ptr().cast());
        asm!(
            "vpermw {packed}, {packed}, {whole}",
            packed = inout(zmm_reg) packed, whole = in(zmm_reg) whole,
            options(pure, nomem, nostack, preserves_flags),
        );
        _mm512_castsi512_si256(packed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_tanh_is_as_close_as_stated() {
        if !(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq")) {
            return;
        }
        for at in -300_000..=300_000 {
            let x = at as f32 / 10_000.0;
            let mut y = [0f32; 16];
            // SAFETY: the processor has what the functions are compiled for.
            let pair = unsafe {
                _mm512_storeu_ps(y.as_mut_ptr(), tanh(_mm512_set1_ps(x * SCALE)));
                let whole = y[0];
                _mm512_storeu_ps(y.as_mut_ptr(), tanh_of_half(_mm512_set1_ps(2.0 * x)));
                [whole, y[15]]
            };
            for y in pair {
                assert!((f64::from(y) - f64::from(x).tanh()).abs() <= 1.6e-6, "tanh({x}) is {y}");
            }
        }
    }
}
