//! Sigmoid, tanh and the LSTM cell on registers, for every instruction set that has no better way of its own.
//!
//! Everything rests on one function, `2^y = s + s t`: `s` is the power of two next to it and `t = 2^r - 1` a
//! polynomial in `r = y - round(y)`, |r| <= 1/2 (minimax for the relative error of `t`, found with the Remez
//! exchange; 1.1e-8 over the interval, so rounding decides). Because `s` is exact, `2^y - 1 = s t + (s - 1)` keeps
//! its relative precision near 0, and tanh with it. AVX-512 reads tanh from a table in registers instead
//! ([`super::tanh_table`]) and takes the sigmoid from it as `1/2 + tanh(x/2) / 2`. Largest errors, asserted by a
//! sweep in the tests:
//!
//! | function | AVX2, portable | AVX-512 |
//! |---|---|---|
//! | sigmoid | 5 ULP for x >= -4, 18 ULP for x >= -20; at most 1e-7 everywhere | 2 ULP of 1 (1.2e-7) everywhere |
//! | tanh | 4 ULP | 3 ULP of 1 (1.8e-7) everywhere |
//!
//! Where the state is rounded to 16 bits (`loops/int16`), tanh comes from a coarser table, 27 ULP of 1 (1.6e-6).
//!
//! "ULP of 1" is the spacing of floats just below 1, 6e-8: an absolute error. By the exponential, the sigmoid of a very
//! negative number is off by more units of its own because rounding the scaled argument moves the exponential by as
//! many units as the argument has size; the exponent is capped at 30.
//!
//! Pre-activations arrive *scaled*: here `-log2(e) z` for the sigmoids, `2 log2(e) z` for the tanh. The factor is
//! folded into the weights when they are packed, so that it costs nothing in a step.

use super::{ROUND, Simd};

/// What the pre-activations of the input, forget and output gates are multiplied by.
pub(super) const SIGMOID_SCALE: f32 = -std::f32::consts::LOG2_E;
/// What the pre-activation of the cell candidate is multiplied by.
pub(super) const TANH_SCALE: f32 = 2.0 * std::f32::consts::LOG2_E;

/// Exponents are capped here: three such factors still multiply to a finite float, and 2^-30 is below half a unit
/// in the last place of 1.
const HIGHEST: f32 = 30.0;
/// The least exponent of a normal float.
const LOWEST: f32 = -126.0;

/// Coefficients of `(2^r - 1) / r`, as the exchange gave them.
#[allow(clippy::excessive_precision)]
const EXP2: [f32; 6] =
    [6.931_471_9e-1, 2.402_265e-1, 5.550_357_4e-2, 9.618_237_5e-3, 1.339_073_5e-3, 1.540_351_3e-4];

/// Splits `2^y` into `(s, t)` with `2^y = s + s t`.
///
/// # Safety
/// As [`Simd`].
#[inline(always)]
unsafe fn exp2_parts<S: Simd>(y: S::V) -> (S::V, S::V) {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe {
        let y = S::min(S::max(y, S::splat(LOWEST)), S::splat(HIGHEST));
        let shifted = S::add(y, S::splat(ROUND));
        let r = S::sub(y, S::sub(shifted, S::splat(ROUND)));
        // Estrin's scheme: one multiplication more than Horner's, half its latency.
        let square = S::mul(r, r);
        let low = S::fma(S::splat(EXP2[1]), r, S::splat(EXP2[0]));
        let middle = S::fma(S::splat(EXP2[3]), r, S::splat(EXP2[2]));
        let high = S::fma(S::splat(EXP2[5]), r, S::splat(EXP2[4]));
        let q = S::fma(S::fma(high, square, middle), square, low);
        (S::power_of_two(shifted), S::mul(r, q))
    }
}

/// `1 + 2^y`.
#[inline(always)]
unsafe fn one_plus_exp2<S: Simd>(y: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe {
        let (s, t) = exp2_parts::<S>(y);
        S::add(S::splat(1.0), S::fma(s, t, s))
    }
}

/// `2^y - 1`, precise near 0.
#[inline(always)]
unsafe fn exp2_minus_one<S: Simd>(y: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe {
        let (s, t) = exp2_parts::<S>(y);
        S::fma(s, t, S::sub(s, S::splat(1.0)))
    }
}

/// Sigmoid of a scaled pre-activation.
#[inline(always)]
pub(super) unsafe fn sigmoid<S: Simd>(scaled: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe { S::div(S::splat(1.0), one_plus_exp2::<S>(scaled)) }
}

/// Hyperbolic tangent of a scaled pre-activation: `(e^2z - 1) / (e^2z + 1)`.
#[inline(always)]
pub(super) unsafe fn tanh<S: Simd>(scaled: S::V) -> S::V {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe {
        let m = exp2_minus_one::<S>(scaled);
        S::div(m, S::add(m, S::splat(2.0)))
    }
}

/// One step of the cell from scaled pre-activations in the order i, f, g, o: returns `(h', c')`.
///
/// With `I = 1 + e^-zi` and so on, `c' = c/F + m/(I (2 + m))` for `m = e^2zg - 1`; brought over one denominator,
/// the step takes two divisions instead of five.
#[inline(always)]
pub(super) unsafe fn cell<S: Simd>(gates: [S::V; 4], c: S::V) -> (S::V, S::V) {
    // SAFETY: the caller vouches for the instruction set; nothing here touches memory.
    unsafe {
        let two = S::splat(2.0);
        let i = one_plus_exp2::<S>(gates[0]);
        let f = one_plus_exp2::<S>(gates[1]);
        let m = exp2_minus_one::<S>(gates[2]);
        let o = one_plus_exp2::<S>(gates[3]);
        let a = S::mul(i, S::add(m, two));
        let c = S::div(S::fma(c, a, S::mul(m, f)), S::mul(a, f));
        let m = exp2_minus_one::<S>(S::mul(c, S::splat(TANH_SCALE)));
        (S::div(m, S::mul(o, S::add(m, two))), c)
    }
}

#[cfg(test)]
mod tests {
    use crate::kernel::{Isa, map_sigmoid, map_tanh};

    /// Distance in units in the last place between a float and the exact value.
    fn ulp(actual: f32, exact: f64) -> f64 {
        let unit = (exact as f32).abs().max(f32::MIN_POSITIVE);
        let spacing = f32::from_bits(unit.to_bits() + 1) - unit;
        (actual as f64 - exact).abs() / spacing as f64
    }

    /// Every 1/8192 from -30 to 30, and every power of two down to the subnormals, of both signs.
    fn domain() -> Vec<f32> {
        let grid = (-30 * 8192..=30 * 8192).map(|step| step as f32 / 8192.0);
        let tiny = (1..126).map(|power| 2f32.powi(-power)).flat_map(|x| [x, -x, x * 1.37, -x * 1.37]);
        grid.chain(tiny).collect()
    }

    #[test]
    fn sigmoid_and_tanh_are_as_close_as_stated() {
        for isa in Isa::available() {
            let x = domain();
            let (mut sigmoid, mut tanh) = (x.clone(), x.clone());
            map_sigmoid(isa, &mut sigmoid);
            map_tanh(isa, &mut tanh);
            // In ULP of the value near and far, and in ULP of 1.
            let (mut near, mut far, mut of_tanh, mut of_one) = (0f64, 0f64, 0f64, [0f64; 2]);
            for ((&x, &s), &t) in x.iter().zip(&sigmoid).zip(&tanh) {
                let exact = [1.0 / (1.0 + (-x as f64).exp()), (x as f64).tanh()];
                if x >= -4.0 {
                    near = near.max(ulp(s, exact[0]));
                } else if x >= -20.0 {
                    far = far.max(ulp(s, exact[0]));
                }
                of_tanh = of_tanh.max(ulp(t, exact[1]));
                for (worst, gap) in of_one.iter_mut().zip([s as f64 - exact[0], t as f64 - exact[1]]) {
                    *worst = worst.max(gap.abs() * 2f64.powi(24));
                }
            }
            println!("{isa:?}: sigmoid {near:.2}, {far:.2} ULP, tanh {of_tanh:.2} ULP; of 1: {of_one:.2?}");
            assert!(of_one[0] <= 2.0 && of_one[1] <= 3.0, "{isa:?}: {of_one:?} ULP of 1");
            // With AVX-512, which AMX stands on, a table takes the place of the long polynomial: close to 1 in absolute terms.
            if !(isa.name().starts_with("avx512") || isa.name() == "amx") {
                assert!(near <= 5.0 && far <= 18.0 && of_tanh <= 4.0, "{isa:?}: {near} {far} {of_tanh}");
            }
        }
    }

    #[test]
    fn extremes_saturate() {
        for isa in Isa::available() {
            let mut x = vec![f32::MAX, f32::MIN, 1e30, -1e30, 0.0, -0.0];
            map_sigmoid(isa, &mut x);
            assert!((x[0] - 1.0).abs() <= 6e-8);
            assert!(x[1].abs() <= 6e-8);
            assert_eq!(&x[4..], [0.5, 0.5]);
            let mut x = vec![f32::MAX, f32::MIN, 1e30, -1e30, 0.0];
            map_tanh(isa, &mut x);
            // 6e-8 is half a unit in the last place of 1: where the table ends.
            let expected = [1.0, -1.0, 1.0, -1.0, 0.0];
            assert!(x.iter().zip(expected).all(|(x, e): (&f32, f32)| (x - e).abs() <= 6e-8), "{x:?}");
        }
    }
}
