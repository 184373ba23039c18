//! The one place where the instruction set is chosen, and where generic kernels are compiled for each.

use std::sync::OnceLock;

use super::infer::{self, Lane, Layer};
#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};
use super::simd::{Portable, Simd};
use super::sixteen::SixteenLayer;
use super::skipgram::{self, Window};
use super::train::{self, Backward, Forward};

/// Name of the environment variable that forces an instruction set: `avx512vnni`, `avx512`, `avx2` or
/// `portable`.
pub const KERNEL_VARIABLE: &str = "IMDB_SENTIMENT_KERNEL";

/// An instruction set that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Isa {
    /// As `Avx512`, with recurrent weights in 16 bits at inference (AVX-512 BW and VNNI too).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// 16 floats at a time (AVX-512 F and DQ).
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 8 floats at a time (AVX2 and FMA).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every target has; the compiler vectorises it.
    Portable,
}

impl Isa {
    /// The instruction sets that this processor has, fastest first.
    pub fn available() -> Vec<Self> {
        let mut sets = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512dq") {
                if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vnni") {
                    sets.push(Isa::Avx512Vnni);
                }
                sets.push(Isa::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                sets.push(Isa::Avx2);
            }
        }
        sets.push(Isa::Portable);
        sets
    }

    /// The instruction set in use: the fastest that the processor has, unless [`KERNEL_VARIABLE`] names another
    /// that it has too. Decided once per process.
    pub fn current() -> Self {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| {
            let available = Isa::available();
            let forced = std::env::var(KERNEL_VARIABLE).unwrap_or_default();
            available.iter().copied().find(|isa| isa.name() == forced).unwrap_or(available[0])
        })
    }

    /// Its name, as [`KERNEL_VARIABLE`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni => "avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            Isa::Portable => "portable",
        }
    }

    /// Floats in a register.
    pub(super) fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx512 => Avx512::LANES,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::LANES,
            Isa::Portable => Portable::LANES,
        }
    }

    /// What pre-activations are multiplied by, in the order i, f, g, o.
    pub(super) fn scales(self) -> [f32; 4] {
        fn of<S: Simd>() -> [f32; 4] {
            [S::SIGMOID_SCALE, S::SIGMOID_SCALE, S::TANH_SCALE, S::SIGMOID_SCALE]
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx512 => of::<Avx512>(),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => of::<Avx2>(),
            Isa::Portable => of::<Portable>(),
        }
    }

    /// Whether recurrent weights are held in 16 bits at inference.
    pub(super) fn rounds_weights(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return self == Isa::Avx512Vnni;
        #[cfg(not(target_arch = "x86_64"))]
        false
    }

    /// Rows that a tile computes at once.
    pub(super) fn tile_rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni | Isa::Avx512 => Avx512::TILE_ROWS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => Avx2::TILE_ROWS,
            Isa::Portable => Portable::TILE_ROWS,
        }
    }
}

/// Compiles the generic kernel `$generic` once per instruction set and calls the one of `isa`.
///
/// The generated function is unsafe as the kernel is: `isa` must be one that the processor has (every [`Isa`]
/// comes from [`Isa::available`] or [`Isa::current`], which see to it) and the arguments must describe valid memory.
macro_rules! kernels {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $type:ty),*) = $generic:ident::$function:ident;)*) => {$(
        $(#[$doc])*
        pub(super) unsafe fn $name(isa: Isa, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512dq")]
            unsafe fn avx512($($arg: $type),*) {
                unsafe { $generic::$function::<Avx512>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $type),*) {
                unsafe { $generic::$function::<Avx2>($($arg),*) }
            }
            unsafe fn portable($($arg: $type),*) {
                unsafe { $generic::$function::<Portable>($($arg),*) }
            }
            // SAFETY: the caller's promise is the kernel's condition, and `isa` exists on this processor.
            unsafe {
                match isa {
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512Vnni | Isa::Avx512 => avx512($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => avx2($($arg),*),
                    Isa::Portable => portable($($arg),*),
                }
            }
        }
    )*};
}

/// Up to six sequences in step, longest first, through a layer with weights in 16 bits; a lone one through few panels
/// takes the way that is made for it.
///
/// # Safety
/// As [`infer::block_of`]; the processor has [`Isa::Avx512Vnni`].
pub(super) unsafe fn sixteen(layer: SixteenLayer, lanes: &[Lane], scratch: *mut f32) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vnni")]
    unsafe fn vnni(layer: SixteenLayer, lanes: &[Lane], scratch: *mut f32) {
        use super::sixteen::single::single;
        unsafe {
            match (lanes, layer.layer.panels) {
                (&[lane], 1) => single::<1>(layer, lane, scratch),
                (&[lane], 2) => single::<2>(layer, lane, scratch),
                (&[lane], 3) => single::<3>(layer, lane, scratch),
                (&[lane], SINGLE_PANELS) => single::<SINGLE_PANELS>(layer, lane, scratch),
                _ => infer::block_of::<Avx512, _>(layer, lanes, scratch),
            }
        }
    }
    // SAFETY: the caller's promise.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        vnni(layer, lanes, scratch)
    }
    #[cfg(not(target_arch = "x86_64"))]
    unreachable!("no other processor packs weights in 16 bits: {:?}", (layer.lines, lanes.len(), scratch))
}

/// Panels up to which a single sequence takes [`infer::single`]: weights up to 64 KiB.
pub(super) const SINGLE_PANELS: usize = 4;

mod generic {
    use super::*;

    #[inline(always)]
    pub unsafe fn single<S: Simd>(layer: Layer, lane: Lane, scratch: *mut f32) {
        unsafe {
            match layer.panels {
                1 => infer::single::<S, 1>(layer, lane, scratch),
                2 => infer::single::<S, 2>(layer, lane, scratch),
                3 => infer::single::<S, 3>(layer, lane, scratch),
                _ => infer::single::<S, 4>(layer, lane, scratch),
            }
        }
    }

    #[inline(always)]
    pub unsafe fn sigmoid<S: Simd>(values: *mut f32, registers: usize) {
        unsafe {
            for at in (0..registers).map(|register| values.add(register * S::LANES)) {
                let scaled = S::mul(S::load(at), S::splat(S::SIGMOID_SCALE));
                S::store(at, S::sigmoid(scaled));
            }
        }
    }

    #[inline(always)]
    pub unsafe fn tanh<S: Simd>(values: *mut f32, registers: usize) {
        unsafe {
            for at in (0..registers).map(|register| values.add(register * S::LANES)) {
                let scaled = S::mul(S::load(at), S::splat(S::TANH_SCALE));
                S::store(at, S::tanh(scaled));
            }
        }
    }
}

kernels! {
    /// See [`infer::single`]; `layer.panels` is at most [`SINGLE_PANELS`].
    fn single(layer: Layer, lane: Lane, scratch: *mut f32) = generic::single;
    /// See [`infer::block`].
    fn block(layer: Layer, lanes: &[Lane], scratch: *mut f32) = infer::block;
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
