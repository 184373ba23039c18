//! Rows of input in whole numbers of 16 bits, each in the unit that its largest number asks for.

#[cfg(target_arch = "x86_64")]
use half::f16;

/// The largest number of a row.
pub(super) const LARGEST_INPUT: f32 = 8191.0;

/// Added to a number before it is cut off: below 2^23 the sum is cut to what `round` gives, half away from zero, without a
/// call for each number.
const ALMOST_HALF: f32 = 0.5f32.next_down();

/// Writes `row` in 16 bits to `to` and returns what 1 of them is; numbers that are none become 0.
#[inline(always)]
pub(in super::super::super) fn quantize(row: &[f32], to: &mut [i16]) -> f32 {
    let larger = |most: f32, value: f32| if value.abs() > most { value.abs() } else { most };
    // Sixteen maxima side by side, so that one need not wait for the other.
    let mut most = [0.0f32; 16];
    let chunks = row.chunks_exact(16);
    let rest = chunks.remainder().iter().fold(0.0, |most, &value| larger(most, value));
    for chunk in chunks {
        for (most, &value) in most.iter_mut().zip(chunk) {
            *most = larger(*most, value);
        }
    }
    let one = most.into_iter().fold(rest, larger) / LARGEST_INPUT;
    let factor = if one.is_normal() { 1.0 / one } else { 0.0 };
    for (to, value) in to.iter_mut().zip(row) {
        let scaled = (value * factor).clamp(-LARGEST_INPUT, LARGEST_INPUT);
        *to = (scaled + ALMOST_HALF.copysign(scaled)) as i32 as i16;
    }
    one
}

/// As [`quantize`] of the row in 32 bits.
///
/// # Safety
/// The processor has AVX-512 F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
pub(in super::super::super) unsafe fn quantize_halves(row: &[f16], to: &mut [i16]) -> f32 {
    use std::arch::x86_64::*;
    // SAFETY: registers are read and written where a whole one is left of both, the rest through copies.
    unsafe {
        let length = row.len().min(to.len());
        let load = |at: usize| {
            let mut copy = [0u16; 16];
            let from = row.as_ptr().add(at).cast::<u16>();
            let from = if at + 16 <= length {
                from
            } else {
                std::ptr::copy_nonoverlapping(from, copy.as_mut_ptr(), length - at);
                copy.as_ptr()
            };
            _mm512_cvtph_ps(_mm256_loadu_si256(from.cast()))
        };
        let mut most = _mm512_setzero_ps();
        for at in (0..length).step_by(16) {
            // The second where the first is no number.
            most = _mm512_max_ps(_mm512_abs_ps(load(at)), most);
        }
        let one = _mm512_reduce_max_ps(most) / LARGEST_INPUT;
        let factor = _mm512_set1_ps(if one.is_normal() { 1.0 / one } else { 0.0 });
        let (limit, sign) = (_mm512_set1_ps(LARGEST_INPUT), _mm512_set1_epi32(i32::MIN));
        let almost_half = _mm512_set1_epi32(ALMOST_HALF.to_bits() as i32);
        for at in (0..length).step_by(16) {
            let scaled = _mm512_mul_ps(load(at), factor);
            let number = _mm512_cmp_ps_mask::<_CMP_ORD_Q>(scaled, scaled);
            let within =
                _mm512_max_ps(_mm512_min_ps(scaled, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
            let half = _mm512_or_si512(_mm512_and_si512(_mm512_castps_si512(within), sign), almost_half);
            let words = _mm512_maskz_cvttps_epi32(number, _mm512_add_ps(within, _mm512_castsi512_ps(half)));
            let words = _mm512_cvtepi32_epi16(words);
            if at + 16 <= length {
                _mm256_storeu_si256(to.as_mut_ptr().add(at).cast(), words);
            } else {
                let mut copy = [0i16; 16];
                _mm256_storeu_si256(copy.as_mut_ptr().cast(), words);
                to[at..length].copy_from_slice(&copy[..length - at]);
            }
        }
        one
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_rounded_half_away_from_zero() {
        // A row whose largest number makes one of them 1: halves, their neighbours, and what is no number.
        let mut row = vec![LARGEST_INPUT, 0.0, -0.0, f32::NAN];
        for half in [0.5f32, 1.5, 2.5, 100.5, 4095.5, 8190.5] {
            row.extend(
                [half, half.next_up(), half.next_down()].into_iter().flat_map(|value| [value, -value]),
            );
        }
        let mut words = vec![1i16; row.len()];
        assert_eq!(quantize(&row, &mut words), 1.0);
        let expected: Vec<i16> = row.iter().map(|value| value.round() as i16).collect();
        assert_eq!(words, expected);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn halves_are_rounded_as_floats_are() {
        if !is_x86_feature_detected!("avx512f") {
            return;
        }
        // Every pattern of bits, in rows of many sizes: with numbers that are none, and only tiny ones.
        let mut bits = 0..=u16::MAX;
        for size in (1..=128).cycle() {
            let row: Vec<f16> = bits.by_ref().take(size).map(f16::from_bits).collect();
            if row.is_empty() {
                break;
            }
            let floats: Vec<f32> = row.iter().map(|half| half.to_f32()).collect();
            let (mut expected, mut words) = (vec![1i16; row.len()], vec![2i16; row.len()]);
            let one = quantize(&floats, &mut expected);
            // SAFETY: the processor has the instruction set.
            let one_of_halves = unsafe { quantize_halves(&row, &mut words) };
            assert_eq!((one_of_halves.to_bits(), &words), (one.to_bits(), &expected), "{row:?}");
        }
    }
}
