//! Fused LSTM arithmetic on slices: forward for inference, forward and back for training.
//!
//! ```text
//! i = sigmoid(W_i x + U_i h + b_i)    f = sigmoid(W_f x + U_f h + b_f)
//! g = tanh   (W_g x + U_g h + b_g)    o = sigmoid(W_o x + U_o h + b_o)
//! c' = f * c + i * g                  h' = o * tanh(c')
//! ```
//!
//! `W x + b` comes as a table of rows: one per word where the vocabulary is small ([`Projection`] over the whole
//! embedding, once), one per position otherwise. What is left per step, `U h` and the activations, happens in
//! registers. Kernels are written once over a small set of vector operations and compiled for AVX-512, AVX2 with
//! FMA, and whatever the target offers; [`Isa::current`] chooses at run time. Where AVX-512 VNNI is at hand, inference
//! multiplies in 16 bits (`sixteen`).
//!
//! This is the only room with `unsafe`, behind an API that checks lengths and rows.

// Loops over indices of register arrays unroll; iterators over them leave the arrays in memory.
#![allow(clippy::needless_range_loop)]

mod activation;
mod dispatch;
mod infer;
mod layout;
mod simd;
mod sixteen;
mod skipgram;
mod tanh_table;
mod tape;
mod train;

#[cfg(test)]
mod tests;

pub use dispatch::{Isa, KERNEL_VARIABLE, map_sigmoid, map_tanh};
pub use layout::AlignedVec;
pub use skipgram::{MAX_CONTEXTS, MAX_TARGETS, SkipGram};
pub use tape::{Gradients, Pool, Tape, TrainingInput, for_each_parallel};

use infer::{Lane, Layer};
use layout::Panels;
use sixteen::SixteenLayer;

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
    /// When a slice has another length.
    pub fn new(isa: Isa, hidden: usize, inputs: usize, weight_ih: &[f32], bias: &[f32]) -> Self {
        assert!(
            weight_ih.len() == 4 * hidden * inputs && bias.len() == 4 * hidden,
            "shape of the input weight"
        );
        let panels = Panels::new(isa, hidden);
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
        assert_eq!(table.len(), pointers.len() * self.gate_width(), "size of the table");
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
    h: AlignedVec,
    c: AlignedVec,
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
    Floats(AlignedVec),
    Sixteen(sixteen::Weights),
}

impl Recurrent {
    /// Packs `weight_hh` `[4 hidden, hidden]`, gates in the order i, f, g, o; in 16 bits where the instruction set is
    /// made for it.
    ///
    /// # Panics
    /// When the slice has another length.
    pub fn new(isa: Isa, hidden: usize, weight_hh: &[f32]) -> Self {
        assert!(hidden > 0 && weight_hh.len() == 4 * hidden * hidden, "shape of the recurrent weight");
        let panels = Panels::new(isa, hidden);
        let weights = match isa.rounds_weights() {
            true => RecurrentWeights::Sixteen(sixteen::Weights::pack(panels, weight_hh)),
            false => RecurrentWeights::Floats(panels.pack(weight_hh, hidden, panels.state_width())),
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
        let mut lanes: Vec<Lane> = Vec::with_capacity(sequences.len());
        for Sequence { rows, state, output } in sequences {
            let highest = rows.iter().copied().max();
            assert!(highest.is_none_or(|row| (row as usize) < table_rows), "a row outside the table");
            assert!(state.h.len() == width && state.c.len() == width, "a state of another layer");
            let (h, c) = (state.h.as_mut_ptr(), state.c.as_mut_ptr());
            let (output, stride) = match output {
                Some(Output { data, stride }) if !rows.is_empty() => {
                    let needed = (rows.len() - 1) * *stride + hidden;
                    assert!(*stride >= hidden && data.len() >= needed, "an output that is too short");
                    (data.as_mut_ptr(), *stride)
                }
                _ => (std::ptr::null_mut(), 0),
            };
            lanes.push(Lane { rows: rows.as_ptr(), steps: rows.len(), h, c, output, stride });
        }
        let floats = match &self.weights {
            RecurrentWeights::Floats(weights) => weights.as_ptr(),
            RecurrentWeights::Sixteen(_) => std::ptr::null(),
        };
        let layer = Layer {
            weights: floats,
            table: [table.kept.as_ptr(), table.fresh.as_ptr()],
            split,
            hidden,
            panels: self.panels.count(),
            reverse,
        };
        let few = layer.panels <= dispatch::SINGLE_PANELS;
        lanes.sort_by_key(|lane| std::cmp::Reverse(lane.steps));
        let rows = self.isa.tile_rows();
        let mut scratch = AlignedVec::zeros(3 * rows * width);
        let scratch = scratch.as_mut_ptr();
        // SAFETY (all branches): rows, states and outputs were checked above, the weights were packed for these
        // panels, and every lane has a state and an output of its own since `sequences` is borrowed mutably.
        match &self.weights {
            RecurrentWeights::Floats(_) if few => {
                lanes
                    .into_iter()
                    .for_each(|lane| unsafe { dispatch::single(self.isa, layer, lane, scratch) });
            }
            RecurrentWeights::Floats(_) => {
                lanes
                    .chunks(rows)
                    .for_each(|lanes| unsafe { dispatch::block(self.isa, layer, lanes, scratch) });
            }
            RecurrentWeights::Sixteen(weights) => {
                let layer = SixteenLayer::new(layer, weights);
                let rows = if few { sixteen::ROWS_OF_FEW_PANELS } else { rows };
                lanes.chunks(rows).for_each(|lanes| unsafe { dispatch::sixteen(layer, lanes, scratch) });
            }
        }
    }
}
