//! A layer at inference: input projection, recurrent weight, and the sequences that run through them.

use super::dispatch;
use super::isa::Isa;
use super::layout::{AlignedVec, Panels};
use super::loops::infer::{Layer, SequenceCursor};
use super::loops::int16::{self, QuantizedLayer};

/// An input weight and bias, packed: turns rows of input into rows of a gate table.
#[derive(Clone, Debug)]
pub struct Projection {
    isa: Isa,
    panels: Panels,
    inputs: usize,
    weights: AlignedVec,
    bias: AlignedVec,
}

impl Projection {
    /// Packs `weight_ih` `[4 hidden, inputs]` and `bias` `[4 hidden]`, gates in the order i, f, g, o.
    ///
    /// # Panics
    /// When a slice has another length, or there are no hidden units or more than 65,536.
    pub fn new(isa: Isa, hidden: usize, inputs: usize, weight_ih: &[f32], bias: &[f32]) -> Self {
        let panels = Panels::new(isa, hidden);
        assert!(
            (4 * hidden).checked_mul(inputs) == Some(weight_ih.len()) && bias.len() == 4 * hidden,
            "shape of the input weight"
        );
        let mut packed_bias = AlignedVec::zeros(panels.gate_width());
        panels.scale_rows(bias, &vec![0.0; bias.len()], &mut packed_bias);
        Self { isa, panels, inputs, weights: panels.pack(weight_ih, inputs, inputs), bias: packed_bias }
    }

    /// Floats in a row of the table.
    pub fn gate_width(&self) -> usize {
        self.panels.gate_width()
    }

    /// Writes one row of the table per row of input, `[rows.len(), gate_width]`.
    ///
    /// # Panics
    /// When a row is not `inputs` long or the table not `rows.len() * gate_width`.
    pub fn run<'a>(&self, rows: impl IntoIterator<Item = &'a [f32]>, table: &mut [f32]) {
        let pointers: Vec<*const f32> = rows
            .into_iter()
            .map(|row| {
                assert_eq!(row.len(), self.inputs, "length of an input row");
                row.as_ptr()
            })
            .collect();
        let floats = pointers.len().checked_mul(self.gate_width());
        assert_eq!(Some(table.len()), floats, "size of the table");
        // SAFETY: rows and table were checked above, weights and bias were packed for these sizes.
        unsafe {
            dispatch::project(
                self.isa,
                self.weights.as_ptr(),
                self.bias.as_ptr(),
                self.inputs,
                self.panels.count(),
                &pointers,
                table.as_mut_ptr(),
            )
        }
    }
}

/// The state of one sequence: hidden and cell, padded to whole registers.
#[derive(Clone, Debug)]
pub struct State {
    hidden: usize,
    pub(super) h: AlignedVec,
    pub(super) c: AlignedVec,
}

impl State {
    /// The hidden state.
    pub fn hidden(&self) -> &[f32] {
        &self.h[..self.hidden]
    }
}

/// Where the hidden states of a sequence go: position `p` at `data[p * stride..]`.
#[derive(Debug)]
pub struct Output<'a> {
    /// At least `(steps - 1) * stride + hidden` floats.
    pub data: &'a mut [f32],
    /// Floats from one position to the next, at least `hidden`.
    pub stride: usize,
}

/// A gate table in two parts, as [`Projection::run`] writes them: rows kept for good, and rows of the moment.
#[derive(Clone, Copy, Debug)]
pub struct GateTable<'a> {
    /// The first rows.
    pub kept: &'a [f32],
    /// The rows after them.
    pub fresh: &'a [f32],
}

/// One sequence to run.
#[derive(Debug)]
pub struct Sequence<'a> {
    /// Row of the table for each position.
    pub rows: &'a [u32],
    /// Where to start from; holds where it ended afterwards.
    pub state: State,
    /// Where every hidden state goes, if anywhere.
    pub output: Option<Output<'a>>,
}

/// A recurrent weight, packed: runs sequences over a gate table.
#[derive(Clone, Debug)]
pub struct Recurrent {
    isa: Isa,
    panels: Panels,
    weights: RecurrentWeights,
}

#[derive(Clone, Debug)]
enum RecurrentWeights {
    F32(AlignedVec),
    Int16(int16::Weights),
}

impl Recurrent {
    /// Packs `weight_hh` `[4 hidden, hidden]`, gates in the order i, f, g, o; in 16 bits where the instruction set is
    /// made for it.
    ///
    /// # Panics
    /// When the slice has another length, or there are no hidden units or more than 65,536.
    pub fn new(isa: Isa, hidden: usize, weight_hh: &[f32]) -> Self {
        let panels = Panels::of_recurrent(isa, hidden, weight_hh);
        let weights = if isa.quantizes_recurrent() {
            RecurrentWeights::Int16(int16::Weights::pack(panels, weight_hh))
        } else {
            RecurrentWeights::F32(panels.pack(weight_hh, hidden, panels.state_width()))
        };
        Self { isa, panels, weights }
    }

    /// A state of zeros.
    pub fn zero_state(&self) -> State {
        let width = self.panels.state_width();
        State { hidden: self.panels.hidden, h: AlignedVec::zeros(width), c: AlignedVec::zeros(width) }
    }

    /// Runs `sequences` over `table` on the calling thread; with `reverse` the last position of each is read first.
    ///
    /// Which sequences run together changes no bit of any result.
    ///
    /// # Panics
    /// When a row lies outside the table or an output is too short.
    pub fn run(&self, table: GateTable<'_>, sequences: &mut [Sequence<'_>], reverse: bool) {
        let (hidden, width, gates) =
            (self.panels.hidden, self.panels.state_width(), self.panels.gate_width());
        let split = table.kept.len() / gates;
        let table_rows = split + table.fresh.len() / gates;
        let mut cursors: Vec<SequenceCursor> = Vec::with_capacity(sequences.len());
        for Sequence { rows, state, output } in sequences {
            let highest = rows.iter().copied().max();
            assert!(highest.is_none_or(|row| (row as usize) < table_rows), "a row outside the table");
            assert!(state.h.len() == width && state.c.len() == width, "a state of another layer");
            let (h, c) = (state.h.as_mut_ptr(), state.c.as_mut_ptr());
            let (output, stride) = match output {
                Some(Output { data, stride }) if !rows.is_empty() => {
                    let needed =
                        (rows.len() - 1).checked_mul(*stride).and_then(|last| last.checked_add(hidden));
                    let fits = *stride >= hidden && needed.is_some_and(|needed| needed <= data.len());
                    assert!(fits, "an output that is too short");
                    (data.as_mut_ptr(), *stride)
                }
                _ => (std::ptr::null_mut(), 0),
            };
            cursors.push(SequenceCursor { rows: rows.as_ptr(), steps: rows.len(), h, c, output, stride });
        }
        let floats = match &self.weights {
            RecurrentWeights::F32(weights) => weights.as_ptr(),
            RecurrentWeights::Int16(_) => std::ptr::null(),
        };
        let layer = Layer {
            weights: floats,
            table: [table.kept.as_ptr(), table.fresh.as_ptr()],
            split,
            hidden,
            panels: self.panels.count(),
            reverse,
        };
        let fits_l1 = layer.panels <= dispatch::L1_PANELS;
        cursors.sort_by_key(|cursor| std::cmp::Reverse(cursor.steps));
        let rows = self.isa.tile_rows();
        let mut scratch = AlignedVec::zeros(3 * rows * width);
        let scratch = scratch.as_mut_ptr();
        // All branches: rows, states and outputs were checked above, and every sequence has a state and an output of
        // its own since `sequences` is borrowed mutably.
        match &self.weights {
            RecurrentWeights::F32(_) if fits_l1 => cursors.into_iter().for_each(|cursor| {
                // SAFETY: as said above; the weights were packed for these panels, which are few enough, and the scratch
                // has room for two rows.
                unsafe { dispatch::run_single(self.isa, layer, cursor, scratch) }
            }),
            RecurrentWeights::F32(_) => cursors.chunks(rows).for_each(|cursors| {
                // SAFETY: as said above; the weights were packed for these panels, and the scratch has room for two rows
                // for each of at most `rows` sequences.
                unsafe { dispatch::run_block(self.isa, layer, cursors, scratch) }
            }),
            RecurrentWeights::Int16(weights) => {
                let layer = QuantizedLayer::new(layer, weights);
                let rows = if fits_l1 { int16::ROWS_OF_FEW_PANELS } else { rows };
                cursors.chunks(rows).for_each(|cursors| {
                    // SAFETY: as said above; the weights were packed for these panels, which happens on processors with
                    // the instructions alone, and the scratch has room for two rows and their 16-bit form.
                    unsafe { dispatch::run_quantized(layer, cursors, scratch) }
                });
            }
        }
    }
}
