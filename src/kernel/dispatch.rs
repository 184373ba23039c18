//! The one place where the instruction set is chosen, and where generic kernels are compiled for each.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::isa::{Isa, Set};
use super::loops::infer::{self, Layer, SequenceCursor};
use super::loops::int8;
use super::loops::int16::QuantizedLayer;
use super::loops::skipgram::{self, Window};
use super::loops::tile::MAX_TILE_ROWS;
use super::loops::train::{self, Backward, Forward};
#[cfg(target_arch = "x86_64")]
use super::simd::words::{Avx2Vnni, Avx2Words, Sse41Words, Vnni};
#[cfg(target_arch = "aarch64")]
use super::simd::words::{NeonDotprod, NeonWords};
use super::simd::words::{PortableWords, Words};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};

/// Compiles the generic kernel `$generic` once per instruction set and calls the one of `isa`.
///
/// The generated function is unsafe as the kernel is: the arguments must describe valid memory. That the processor has
/// `isa` needs no promise: only detection makes an [`Isa`].
macro_rules! kernels {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) = $generic:ident::$function:ident;)*) => {$(
        $(#[$doc])*
        pub(super) unsafe fn $name(isa: Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq")]
            unsafe fn avx512($($arg: $type),*) {
                // SAFETY: compiled for the instruction set; the rest is the caller's promise.
                unsafe { $generic::$function::<Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) {
                // SAFETY: compiled for the instruction set; the rest is the caller's promise.
                unsafe { $generic::$function::<Avx2>($($arg),*) }
            }
            unsafe fn portable($($arg: $type),*) {
                // SAFETY: compiled for the instruction set; the rest is the caller's promise.
                unsafe { $generic::$function::<Portable>($($arg),*) }
            }
            // SAFETY: the caller's promise is the kernel's condition, and an `Isa` exists on this processor.
            unsafe {
                match isa.set() {
                    #[cfg(target_arch = "x86_64")]
                    Set::Amx | Set::Avx512Vnni | Set::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Set::AvxVnni | Set::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Set::Sse41 => portable($($arg),*),
                    #[cfg(target_arch = "aarch64")]
                    Set::NeonDotprod | Set::Neon => portable($($arg),*),
                    Set::Portable => portable($($arg),*),
                }
            }
        }
    )*};
}

/// Up to six sequences in step, longest first, through a layer with weights in 16 bits; a lone one through few panels
/// takes the way that is made for it.
///
/// # Safety
/// As [`infer::run_block_of`]; the processor has [`Set::Avx512Vnni`].
pub(super) unsafe fn run_quantized(layer: QuantizedLayer, cursors: &[SequenceCursor], scratch: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vnni")]
    unsafe fn vnni(layer: QuantizedLayer, cursors: &[SequenceCursor], scratch: *mut f32) {
        use super::loops::int16::single::run_single;
        // SAFETY: compiled for the instruction set; the rest is the caller's promise.
        unsafe {
            match (cursors, layer.shared.panels) {
                (&[cursor], 1) => run_single::<1>(layer, cursor, scratch),
                (&[cursor], 2) => run_single::<2>(layer, cursor, scratch),
                (&[cursor], 3) => run_single::<3>(layer, cursor, scratch),
                (&[cursor], L1_PANELS) => run_single::<L1_PANELS>(layer, cursor, scratch),
                _ => infer::run_block_of::<Avx512, _>(layer, cursors, scratch),
            }
        }
    }
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's promise.
    unsafe {
        vnni(layer, cursors, scratch)
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("no other processor packs weights in 16 bits: {:?}", (layer.lines, cursors.len(), scratch))
}

/// Panels up to which a single sequence takes [`infer::run_single`]: weights up to 64 KiB.
pub(super) const L1_PANELS: usize = 4;

mod generic {
    use super::*;

    #[inline(always)]
    pub unsafe fn run_single<S: Simd>(layer: Layer, cursor: SequenceCursor, scratch: *mut f32) {
        // SAFETY: the caller's promise; `layer.panels` is at most `L1_PANELS`.
        unsafe {
            match layer.panels {
                1 => infer::run_single::<S, 1>(layer, cursor, scratch),
                2 => infer::run_single::<S, 2>(layer, cursor, scratch),
                3 => infer::run_single::<S, 3>(layer, cursor, scratch),
                _ => infer::run_single::<S, 4>(layer, cursor, scratch),
            }
        }
    }

    #[inline(always)]
    pub unsafe fn run_int8<S: Words>(layer: int8::Layer, cursors: &[int8::Cursor], scratch: *mut u8) {
        for cursors in cursors.chunks(S::ROWS) {
            // SAFETY: the caller's promise.
            unsafe { int8::step::run::<S>(layer, cursors, scratch) }
        }
    }

    #[inline(always)]
    pub unsafe fn project_int8<S: Words>(task: int8::projection::Task) {
        // SAFETY: the caller's promise.
        unsafe { int8::projection::run::<S>(task, 0) }
    }

    #[inline(always)]
    pub unsafe fn sigmoid<S: Simd>(values: *mut f32, registers: usize) {
        // SAFETY: the caller vouches for so many registers at `values`.
        unsafe {
            for at in (0..registers).map(|register| values.add(register * S::LANES)) {
                let scaled = S::mul(S::load(at), S::splat(S::SIGMOID_SCALE));
                S::store(at, S::sigmoid(scaled));
            }
        }
    }

    #[inline(always)]
    pub unsafe fn tanh<S: Simd>(values: *mut f32, registers: usize) {
        // SAFETY: the caller vouches for so many registers at `values`.
        unsafe {
            for at in (0..registers).map(|register| values.add(register * S::LANES)) {
                let scaled = S::mul(S::load(at), S::splat(S::TANH_SCALE));
                S::store(at, S::tanh(scaled));
            }
        }
    }
}

kernels! {
    /// See [`infer::run_single`]; `layer.panels` is at most [`L1_PANELS`].
    fn run_single(layer: Layer, cursor: SequenceCursor, scratch: *mut f32) = generic::run_single;
    /// See [`infer::run_block`].
    fn run_block(layer: Layer, cursors: &[SequenceCursor], scratch: *mut f32) = infer::run_block;
    /// See [`infer::project`].
    fn project(
        weights: *const f32, bias: *const f32, inputs: usize, panels: usize, input: &[*const f32], output: *mut f32
    ) = infer::project;
    /// See [`train::forward`].
    fn train_forward(task: &mut Forward<'_>) = train::forward;
    /// See [`train::backward`].
    fn train_backward(task: &mut Backward<'_>) = train::backward;
    /// See [`train::outer_products`].
    fn outer_products(panels: usize, dz: &[f32], h: &[f32], sum: &mut [f32]) = train::outer_products;
    /// See [`skipgram::window`].
    fn skip_gram(window: Window, contexts: &[u32], targets: &[u32]) = skipgram::window;
    /// Sigmoid of registers of values, in place.
    fn sigmoid_registers(values: *mut f32, registers: usize) = generic::sigmoid;
    /// Hyperbolic tangent of registers of values, in place.
    fn tanh_registers(values: *mut f32, registers: usize) = generic::tanh;
}

/// Compiles a function of [`generic`] for each instruction set with words of its own, under the set's name.
macro_rules! for_words {
    ($function:ident($($arg:ident: $type:ty),*)) => {
        for_words!(vnni, "x86_64", "avx512f,avx512dq,avx512bw,avx512vnni", Vnni, $function($($arg: $type),*));
        for_words!(avx_vnni, "x86_64", "avx2,avxvnni", Avx2Vnni, $function($($arg: $type),*));
        for_words!(avx2, "x86_64", "avx2", Avx2Words, $function($($arg: $type),*));
        for_words!(sse41, "x86_64", "sse4.1,ssse3", Sse41Words, $function($($arg: $type),*));
        for_words!(neon_dotprod, "aarch64", "neon,dotprod", NeonDotprod, $function($($arg: $type),*));
        for_words!(neon, "aarch64", "neon", NeonWords, $function($($arg: $type),*));
    };
    ($name:ident, $arch:literal, $features:literal, $words:ty, $function:ident($($arg:ident: $type:ty),*)) => {
        #[cfg(target_arch = $arch)]
        #[target_feature(enable = $features)]
        unsafe fn $name($($arg: $type),*) {
            // SAFETY: compiled for the instruction set; the rest is the caller's promise.
            unsafe { generic::$function::<$words>($($arg),*) }
        }
    };
}

/// Sequences through a layer of 8 bits, longest first.
///
/// # Safety
/// As [`int8::step::run`]; `scratch` has [`int8_scratch`] zeros.
pub(super) unsafe fn run_int8(isa: Isa, layer: int8::Layer, cursors: &[int8::Cursor], scratch: *mut u8) {
    for_words!(run_int8(layer: int8::Layer, cursors: &[int8::Cursor], scratch: *mut u8));
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vnni")]
    unsafe fn amx(layer: int8::Layer, cursors: &[int8::Cursor], scratch: *mut u8) {
        for cursors in cursors.chunks(int8::amx::TILE_ROWS) {
            // SAFETY: compiled for the instruction set, which is there with tiles; the rest is the caller's promise, and what
            // is left of each sequence is one too.
            unsafe {
                let done = int8::amx::run(layer, cursors, scratch);
                let longer = cursors.iter().take_while(|cursor| cursor.steps > done);
                let rest: Vec<int8::Cursor> = longer.map(|&cursor| layer.after(cursor, done)).collect();
                vnni(layer, &rest, scratch);
            }
        }
    }
    // SAFETY: the caller's promise is the kernel's condition, and an `Isa` exists on this processor.
    unsafe {
        match isa.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Amx => amx(layer, cursors, scratch),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => vnni(layer, cursors, scratch),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => avx_vnni(layer, cursors, scratch),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Avx2 => avx2(layer, cursors, scratch),
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => sse41(layer, cursors, scratch),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod => neon_dotprod(layer, cursors, scratch),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon(layer, cursors, scratch),
            Set::Portable => generic::run_int8::<PortableWords>(layer, cursors, scratch),
        }
    }
}

/// Sequences that [`run_int8`] gains from running together.
pub(super) fn int8_batch_rows(isa: Isa) -> usize {
    match isa.set() {
        #[cfg(target_arch = "x86_64")]
        Set::Amx => int8::amx::TILE_ROWS,
        _ => MAX_TILE_ROWS,
    }
}

/// Bytes of scratch that [`run_int8`] needs for rows of states of `state_bytes`.
pub(super) fn int8_scratch(isa: Isa, state_bytes: usize) -> usize {
    match isa.set() {
        #[cfg(target_arch = "x86_64")]
        Set::Amx => int8::amx::scratch_bytes(state_bytes),
        _ => 2 * 3 * state_bytes,
    }
}

/// See [`int8::projection::run`].
///
/// # Safety
/// As there.
pub(super) unsafe fn project_int8(isa: Isa, task: int8::projection::Task) {
    for_words!(project_int8(task: int8::projection::Task));
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vnni")]
    unsafe fn amx(task: int8::projection::Task) {
        // SAFETY: compiled for the instruction set, which is there with tiles, for which the weights were packed; the rest is
        // the caller's promise.
        unsafe {
            let done = int8::amx_projection::run(task);
            int8::projection::run::<Vnni>(task, done);
        }
    }
    // SAFETY: the caller's promise is the kernel's condition, and an `Isa` exists on this processor.
    unsafe {
        match isa.set() {
            #[cfg(target_arch = "x86_64")]
            Set::Amx => amx(task),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512Vnni => vnni(task),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni => avx_vnni(task),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512 | Set::Avx2 => avx2(task),
            #[cfg(target_arch = "x86_64")]
            Set::Sse41 => sse41(task),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDotprod => neon_dotprod(task),
            #[cfg(target_arch = "aarch64")]
            Set::Neon => neon(task),
            Set::Portable => generic::project_int8::<PortableWords>(task),
        }
    }
}

/// As [`int8::input::quantize`] of the row in 32 bits, which `floats` holds where the processor has no way around it.
pub(super) fn quantize_halves(isa: Isa, row: &[f16], floats: &mut Vec<f32>, to: &mut [i16]) -> f32 {
    match isa.set() {
        // SAFETY: an `Isa` exists on this processor.
        #[cfg(target_arch = "x86_64")]
        Set::Amx | Set::Avx512Vnni | Set::Avx512 => unsafe { int8::input::quantize_halves(row, to) },
        _ => {
            floats.resize(row.len(), 0.0);
            row.convert_to_f32_slice(floats);
            int8::input::quantize(floats, to)
        }
    }
}

/// Replaces each value by its sigmoid.
pub fn map_sigmoid(isa: Isa, values: &mut [f32]) {
    // SAFETY: `map` hands over whole registers.
    map(isa, values, |at, registers| unsafe { sigmoid_registers(isa, at, registers) });
}

/// Replaces each value by its hyperbolic tangent.
pub fn map_tanh(isa: Isa, values: &mut [f32]) {
    // SAFETY: `map` hands over whole registers.
    map(isa, values, |at, registers| unsafe { tanh_registers(isa, at, registers) });
}

/// Applies `each` to the whole registers of `values`, and to a padded copy of what is left over.
fn map(isa: Isa, values: &mut [f32], each: impl Fn(*mut f32, usize)) {
    let whole = values.len() / isa.lanes();
    each(values.as_mut_ptr(), whole);
    let rest = &mut values[whole * isa.lanes()..];
    let mut last = [0.0f32; 16];
    last[..rest.len()].copy_from_slice(rest);
    each(last.as_mut_ptr(), 1);
    rest.copy_from_slice(&last[..rest.len()]);
}
