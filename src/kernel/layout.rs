//! Memory as the kernels want it: aligned buffers, and gates side by side in panels.
//!
//! A *panel* is as many hidden units as a register has lanes, `L`. Its four gates stand together: `[i L][f L][g L]
//! [o L]`. Hidden sizes are padded to whole panels with units whose weights are all zero; such a unit stays at
//! `c = h = 0` and touches no other.

use super::isa::Isa;

/// Numbers that begin at a 64-byte border, so that a register never straddles two cache lines.
#[derive(Clone, Debug)]
pub struct Aligned<T> {
    lines: Vec<CacheLine>,
    len: usize,
    numbers: std::marker::PhantomData<T>,
}

/// Aligned floats.
pub type AlignedVec = Aligned<f32>;

/// Aligned numbers of 16 bits.
pub type AlignedWords = Aligned<i16>;

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct CacheLine([f32; 16]);

/// Numbers of which every pattern of bits is one, and whose size divides 64.
///
/// # Safety
/// That has to be so.
pub unsafe trait Number: Copy {}
// SAFETY: every pattern of bits is such a number.
unsafe impl Number for i8 {}
// SAFETY: as for `i8`.
unsafe impl Number for u8 {}
// SAFETY: as for `i8`.
unsafe impl Number for i16 {}
// SAFETY: as for `i8`.
unsafe impl Number for i32 {}
// SAFETY: as for `i8`.
unsafe impl Number for f32 {}

impl<T> Aligned<T> {
    /// No numbers.
    pub const fn new() -> Self {
        Self { lines: Vec::new(), len: 0, numbers: std::marker::PhantomData }
    }
}

impl<T> Default for Aligned<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Number> Aligned<T> {
    /// `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let mut zeros = Self::new();
        zeros.lines = vec![CacheLine::default(); Self::lines_of(len)];
        zeros.len = len;
        zeros
    }

    /// Makes room for `len` numbers, keeping the allocation where it is large enough; the contents are unspecified.
    pub fn resize(&mut self, len: usize) {
        let lines = Self::lines_of(len);
        // What lies behind is kept, or it would be filled again when the buffer grows back.
        if lines > self.lines.len() {
            self.lines.resize(lines, CacheLine::default());
        }
        self.len = len;
    }

    /// Numbers that there is room for.
    pub(super) fn capacity(&self) -> usize {
        self.lines.len() * (size_of::<CacheLine>() / size_of::<T>())
    }

    fn lines_of(len: usize) -> usize {
        let bytes = len.checked_mul(size_of::<T>()).expect("a size that fits memory");
        bytes.div_ceil(size_of::<CacheLine>())
    }
}

impl<T: Number> std::ops::Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `lines` holds at least `len` numbers without gaps (`repr(C)`), aligned for each of them.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<T: Number> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as for `deref`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Most hidden units of a layer: a weight's size, computed from them, does not wrap.
pub const MAX_HIDDEN: usize = 1 << 16;

/// The panels of a hidden size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Panels {
    pub hidden: usize,
    pub lanes: usize,
    /// What a gate's pre-activation is multiplied by, in the order i, f, g, o.
    scales: [f32; 4],
}

impl Panels {
    /// The panels of `hidden` units on `isa`.
    ///
    /// # Panics
    /// When there are none or more than [`MAX_HIDDEN`].
    pub fn new(isa: Isa, hidden: usize) -> Self {
        assert!((1..=MAX_HIDDEN).contains(&hidden), "{hidden} hidden units");
        Self { hidden, lanes: isa.lanes(), scales: isa.scales() }
    }

    /// The panels of a layer whose recurrent weight is `weight_hh` `[4 hidden, hidden]`.
    ///
    /// # Panics
    /// As [`Panels::new`], and where the weight has another length.
    pub fn of_recurrent(isa: Isa, hidden: usize, weight_hh: &[f32]) -> Self {
        let panels = Self::new(isa, hidden);
        assert_eq!(weight_hh.len(), 4 * hidden * hidden, "shape of the recurrent weight");
        panels
    }

    /// Number of panels.
    pub fn count(self) -> usize {
        self.hidden.div_ceil(self.lanes)
    }

    /// Hidden units, padded.
    pub fn state_width(self) -> usize {
        self.count() * self.lanes
    }

    /// Gates of one step, padded.
    pub fn gate_width(self) -> usize {
        4 * self.state_width()
    }

    /// Where row `gate * hidden + unit` of a PyTorch weight stands among the gates of one step.
    fn position(self, gate: usize, unit: usize) -> usize {
        (unit / self.lanes * 4 + gate) * self.lanes + unit % self.lanes
    }

    /// Where the first input of the gate at `position` stands in a packed weight; the others follow `4 * lanes` apart.
    fn packed_start(self, position: usize, inputs: usize) -> usize {
        let width = 4 * self.lanes;
        position / width * inputs * width + position % width
    }

    /// Calls `each(row, position, scale)` for every row of a PyTorch gate weight.
    pub fn for_each_row(self, mut each: impl FnMut(usize, usize, f32)) {
        for gate in 0..4 {
            let scale = self.scales[gate];
            for unit in 0..self.hidden {
                each(gate * self.hidden + unit, self.position(gate, unit), scale);
            }
        }
    }

    /// Packs a gate weight `[4 hidden, inputs]`, scaled, as `[panel][input][4 lanes]` with `padded` inputs.
    pub fn pack(self, weight: &[f32], inputs: usize, padded: usize) -> AlignedVec {
        let mut packed = AlignedVec::zeros(self.gate_width() * padded);
        let width = 4 * self.lanes;
        self.for_each_row(|row, position, scale| {
            let start = self.packed_start(position, padded);
            for (input, value) in weight[row * inputs..][..inputs].iter().enumerate() {
                packed[start + input * width] = value * scale;
            }
        });
        packed
    }

    /// Takes a recurrent weight that is packed, unscaled, apart into `[4 hidden, hidden]`.
    pub fn unpack(self, packed: &[f32], weight: &mut [f32]) {
        let width = 4 * self.lanes;
        self.for_each_row(|row, position, _| {
            let start = self.packed_start(position, self.state_width());
            for (input, value) in weight[row * self.hidden..][..self.hidden].iter_mut().enumerate() {
                *value = packed[start + input * width];
            }
        });
    }

    /// Brings rows of gates `[n, 4 hidden]`, a bias `[4 hidden]` added, into panels, scaled: `[n, gate_width]`.
    pub fn scale_rows(self, rows: &[f32], bias: &[f32], panelled: &mut [f32]) {
        for (from, to) in rows.chunks_exact(4 * self.hidden).zip(panelled.chunks_exact_mut(self.gate_width()))
        {
            for (panel, to) in to.chunks_exact_mut(4 * self.lanes).enumerate() {
                let unit = panel * self.lanes;
                let units = self.lanes.min(self.hidden - unit);
                for (gate, to) in to.chunks_exact_mut(self.lanes).enumerate() {
                    let scale = self.scales[gate];
                    let start = gate * self.hidden + unit;
                    let (from, bias) = (&from[start..][..units], &bias[start..][..units]);
                    to[units..].fill(0.0);
                    to.iter_mut().zip(from.iter().zip(bias)).for_each(|(to, (x, b))| *to = (x + b) * scale);
                }
            }
        }
    }

    /// Packs a recurrent weight `[4 hidden, hidden]`, unscaled, for the backward pass: the product of a row of gates in
    /// panels with it. Split into groups of [`group_widths`] panels: `[group][gate position][group panels * lanes]`.
    pub fn pack_transposed(self, weight: &[f32]) -> AlignedVec {
        let gates = self.gate_width();
        let mut packed = AlignedVec::zeros(gates * self.state_width());
        let mut first = 0;
        for width in group_widths(self.count()) {
            let (columns, base) = (width * self.lanes, gates * first * self.lanes);
            self.for_each_row(|row, position, _| {
                let unit = first * self.lanes;
                let units = columns.min(self.hidden.saturating_sub(unit));
                packed[base + position * columns..][..units]
                    .copy_from_slice(&weight[row * self.hidden + unit..][..units]);
            });
            first += width;
        }
        packed
    }

    /// Adds rows of gates in panels, unscaled, to rows `[.., 4 hidden]`.
    pub fn add_row(self, panelled: &[f32], row: &mut [f32]) {
        for (panel, from) in panelled.chunks_exact(4 * self.lanes).enumerate() {
            let unit = panel * self.lanes;
            let units = self.lanes.min(self.hidden - unit);
            for (gate, from) in from.chunks_exact(self.lanes).enumerate() {
                let to = &mut row[gate * self.hidden + unit..][..units];
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
        }
    }
}

/// Cuts `panels` into groups of four, then two, then one: the widths for which a matrix tile is compiled.
pub(super) fn group_widths(panels: usize) -> impl Iterator<Item = usize> {
    let fours = panels / 4;
    std::iter::repeat_n(4, fours).chain((panels % 4 >= 2).then_some(2)).chain((panels % 2 == 1).then_some(1))
}
