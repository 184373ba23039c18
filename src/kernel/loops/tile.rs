//! The matrix tile that all loops are made of, and the choice of its number of rows.

use super::super::simd::Simd;

/// Rows that a tile computes at once at most, on whatever instruction set.
pub(in super::super) const MAX_TILE_ROWS: usize = 6;

/// `sums[r][n] += value(r, k) * weights[k][n]` over `depth` values of `k`, for `R` rows and `N` registers.
///
/// The weights of `k` start at `weights + k * step`. `value` gives the address of a row's number, so that each caller
/// keeps its rows as it likes: one after the other, behind pointers, or transposed.
///
/// # Safety
/// As [`Simd`]; `weights` has `N` registers for every `k`, and `value` is valid for every `r < R` and `k < depth`.
#[inline(always)]
pub unsafe fn multiply_tile<S: Simd, const R: usize, const N: usize>(
    sums: &mut [[S::V; N]; R],
    weights: *const f32,
    step: usize,
    depth: usize,
    value: impl Fn(usize, usize) -> *const f32,
) {
    // SAFETY: the caller's promise, row by row and register by register.
    unsafe {
        let mut w = weights;
        // A copy, which the compiler keeps in registers.
        let mut sum = *sums;
        for k in 0..depth {
            let mut column = [S::splat(0.0); N];
            for n in 0..N {
                column[n] = S::load(w.add(n * S::LANES));
            }
            for r in 0..R {
                let value = S::splat(*value(r, k));
                for n in 0..N {
                    sum[r][n] = S::fma(column[n], value, sum[r][n]);
                }
            }
            w = w.wrapping_add(step);
        }
        *sums = sum;
    }
}

/// Calls `$function::<$kind.., R>` with the number of rows as a constant, at most [`MAX_TILE_ROWS`].
macro_rules! with_rows {
    ($rows:expr, $function:ident::<$($kind:ty),+>($($arg:expr),*)) => {
        match $rows {
            1 => $function::<$($kind),+, 1>($($arg),*),
            2 => $function::<$($kind),+, 2>($($arg),*),
            3 => $function::<$($kind),+, 3>($($arg),*),
            4 => $function::<$($kind),+, 4>($($arg),*),
            5 => $function::<$($kind),+, 5>($($arg),*),
            $crate::kernel::loops::tile::MAX_TILE_ROWS => $function::<$($kind),+, 6>($($arg),*),
            rows => unreachable!("a tile of {rows} rows"),
        }
    };
}
pub(in super::super) use with_rows;
