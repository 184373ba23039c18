//! tanh by table for registers of 16 floats: 16 polynomials of degree 5, picked by a permutation within registers.
//!
//! With `u = 1 + SCALE |x|`, the interval of `u` is the low bits of its exponent and the top two bits of its mantissa,
//! so one shift finds it, and its lower end is `u` with the other bits cleared. Intervals are narrow near 0, where
//! tanh bends, and wide where it is flat; at `u = 16` tanh is 1 but for half a unit in its last place.
//!
//! Against the exponential of [`super::activation`] this has a third of the latency (no division), which is what one
//! sequence of a small layer waits for. Printed by `tools/tanh_table.py`.

// Digits as the script prints them.
#![allow(clippy::excessive_precision)]

/// What an argument is multiplied by before 1 is added.
pub(super) const SCALE: f32 = 1.724137902e+00;

/// The largest float below the end of the table.
pub(super) const LIMIT: f32 = 15.999_999;

/// Coefficients by power of the distance from the interval's lower end, then by interval.
#[rustfmt::skip]
pub(super) static COEFFICIENTS: Table = Table([
    // times r^0
    [5.226654410e-01, 7.013741136e-01, 8.210398555e-01, 8.956928849e-01, 9.402266145e-01, 9.808693528e-01, 9.939631820e-01, 9.981036186e-01, 9.994051456e-01, 9.999415278e-01, 9.999942780e-01, 9.999994636e-01, 0.000000000e+00, 1.439922601e-01, 2.821348011e-01, 4.094913900e-01],
    // times r^1
    [4.215557277e-01, 2.946838737e-01, 1.890188307e-01, 1.146861017e-01, 6.726481020e-02, 2.197836712e-02, 6.981197745e-03, 2.197596477e-03, 6.889813230e-04, 6.774441135e-05, 6.657831818e-06, 6.542923643e-07, 5.799999833e-01, 5.679743290e-01, 5.338318944e-01, 4.827436805e-01],
    // times r^2
    [-1.277837157e-01, -1.198941991e-01, -9.002488106e-02, -5.958472192e-02, -3.668177873e-02, -1.249351725e-02, -4.020263441e-03, -1.270684297e-03, -3.946410434e-04, -3.882107922e-05, -3.815456694e-06, -3.749621840e-07, 2.944548498e-07, -4.743084684e-02, -8.735095710e-02, -1.146509349e-01],
    // times r^3
    [-8.619396947e-03, 1.587356813e-02, 2.178780921e-02, 1.813715696e-02, 1.246672310e-02, 4.603406414e-03, 1.517346245e-03, 4.831567057e-04, 1.426436065e-04, 1.404134127e-05, 1.380117624e-06, 1.356312964e-07, -6.504617631e-02, -5.979204923e-02, -4.563996941e-02, -2.695468441e-02],
    // times r^4
    [1.732970960e-02, 6.472292822e-03, -6.984335487e-04, -2.903074259e-03, -2.713466529e-03, -1.153126825e-03, -3.945663921e-04, -1.270523062e-04, -3.208639828e-05, -3.160879260e-06, -3.107047348e-07, -3.053478537e-08, 8.813766181e-05, 1.079702377e-02, 1.782649942e-02, 1.967065223e-02],
    // times r^5
    [-4.125148058e-03, -2.923416439e-03, -9.607350221e-04, 3.825552994e-05, 3.064447083e-04, 1.586736907e-04, 5.672464977e-05, 1.849618275e-05, 3.413495051e-06, 3.364996246e-07, 3.307910745e-08, 3.250899994e-09, 8.448477834e-03, 5.598484073e-03, 1.575501869e-03, -1.918362104e-03],
]);

/// Aligned, so that each row is one register.
#[repr(align(64))]
pub(super) struct Table(pub [[f32; 16]; 6]);
