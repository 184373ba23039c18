//! How the input of each step moves what is made of a layer's states: forward, then back to the rows of the gate table.
//!
//! What explains a prediction needs of the training pass: one sequence, and no gradient of the weights.

use super::buffers::BufferPool;
use super::dispatch;
use super::inference::State;
use super::isa::Isa;
use super::layout::{AlignedVec, Panels};
use super::loops::int8::{GATE_ONE, GATE_SCALES, word_position};
use super::loops::train::{Backward, Forward, Kept};

/// A recurrent weight packed for both ways, in 32 bits on every instruction set.
#[derive(Clone, Debug)]
pub struct InputGradient {
    isa: Isa,
    panels: Panels,
    weights: AlignedVec,
    transposed: AlignedVec,
    /// What undoes the scale of a row of the gate table, `[gate_width]`; 0 where units are padding.
    unscale: AlignedVec,
    /// For each register of a row of the gate table, where its numbers stand in a row of words, and what they are
    /// multiplied by.
    words: Vec<(usize, f32)>,
}

/// A sequence that ran forward, ready to go back once.
#[derive(Debug)]
pub struct InputPass<'a> {
    layer: &'a InputGradient,
    lengths: [usize; 1],
    h: AlignedVec,
    c: AlignedVec,
    gates: AlignedVec,
    cells: AlignedVec,
    tanhs: AlignedVec,
    hiddens: AlignedVec,
}

impl InputGradient {
    /// Packs `weight_hh` `[4 hidden, hidden]`, gates in the order i, f, g, o.
    ///
    /// # Panics
    /// When the slice has another length, or there are no hidden units or more than 65,536.
    pub fn new(isa: Isa, hidden: usize, weight_hh: &[f32]) -> Self {
        let panels = Panels::of_recurrent(isa, hidden, weight_hh);
        let mut unscale = AlignedVec::zeros(panels.gate_width());
        let mut words = vec![(0, 0.0); panels.gate_width() / panels.lanes];
        panels.for_each_row(|row, position, scale| {
            unscale[position] = 1.0 / scale;
            if position.is_multiple_of(panels.lanes) {
                let (gate, unit) = (row / hidden, row % hidden);
                words[position / panels.lanes] =
                    (word_position(gate, unit), scale / (GATE_SCALES[gate] * GATE_ONE));
            }
        });
        Self {
            isa,
            panels,
            weights: panels.pack(weight_hh, hidden, panels.state_width()),
            transposed: panels.pack_transposed(weight_hh),
            unscale,
            words,
        }
    }

    /// Floats of a row of the gate table.
    pub fn gate_width(&self) -> usize {
        self.panels.gate_width()
    }

    /// Floats of a state, padded to whole registers.
    pub fn state_width(&self) -> usize {
        self.panels.state_width()
    }

    /// Writes `words`, a row as [`Int8Projection`](super::Int8Projection) writes it for this layer, as a row of the gate table.
    ///
    /// # Panics
    /// When a row is of another layer.
    pub fn row_from_words(&self, words: &[i16], row: &mut [f32]) {
        assert_eq!(row.len(), self.gate_width(), "length of a row");
        for (register, &(from, unit)) in row.chunks_exact_mut(self.panels.lanes).zip(&self.words) {
            let words = &words[from..][..register.len()];
            register.iter_mut().zip(words).for_each(|(to, &word)| *to = f32::from(word) * unit);
        }
    }

    /// Runs a sequence from `start` over `table` `[steps, gate_width]`, rows as [`Projection`](super::Projection) writes them,
    /// in the order in which the layer reads them. What is kept lies in `buffers`.
    ///
    /// # Panics
    /// When the table does not hold whole rows, or `start` is of another layer.
    pub fn forward(&self, table: &[f32], start: &State, buffers: &BufferPool) -> InputPass<'_> {
        let (width, gates) = (self.state_width(), self.gate_width());
        assert!(table.len().is_multiple_of(gates), "size of the table");
        assert!(start.h.len() == width && start.c.len() == width, "a state of another layer");
        let rows = table.len() / gates;
        let order: Vec<u32> = (0..rows as u32).collect();
        let mut pass = InputPass {
            layer: self,
            lengths: [rows],
            h: buffers.take(width),
            c: buffers.take(width),
            // The forward run writes all of them, what pads them too.
            gates: buffers.take(rows * gates),
            cells: buffers.take(rows * width),
            tanhs: buffers.take(rows * width),
            hiddens: buffers.take(rows * width),
        };
        pass.h.copy_from_slice(&start.h);
        pass.c.copy_from_slice(&start.c);
        let mut task = Forward {
            panels: self.panels.count(),
            hidden: self.panels.hidden,
            weights: &self.weights,
            table,
            rows: &order,
            lengths: &pass.lengths,
            h: &mut pass.h,
            c: &mut pass.c,
            kept: Kept {
                gates: &mut pass.gates,
                cells: &mut pass.cells,
                tanhs: &mut pass.tanhs,
                hiddens: &mut pass.hiddens,
            },
        };
        // SAFETY: the buffers were sized for these lengths above, and the rows are those of the table.
        unsafe { dispatch::train_forward(self.isa, &mut task) }
        pass
    }

    /// What the input adds when its row of the gate table goes from `from` to `to`, by `gradient`, a row of
    /// [`InputPass::backward`]: their difference times it.
    pub fn product(&self, from: &[f32], to: &[f32], gradient: &[f32]) -> f32 {
        // So many sums side by side that they fill registers.
        let mut sums = [0.0f32; 16];
        let blocks = [from, to, gradient, &self.unscale].map(|slice| slice.as_chunks::<16>().0);
        for block in 0..blocks[3].len().min(blocks[0].len()) {
            let [from, to, gradient, unscale] = blocks.map(|slice| &slice[block]);
            for at in 0..16 {
                sums[at] += (to[at] - from[at]) * unscale[at] * gradient[at];
            }
        }
        let rest = self.unscale.len() / 16 * 16..self.unscale.len();
        let tail: f32 = rest.map(|at| (to[at] - from[at]) * self.unscale[at] * gradient[at]).sum();
        sums.iter().sum::<f32>() + tail
    }

    /// A row of [`InputPass::backward`] as the rows of a PyTorch weight go: `[4 hidden]`.
    pub fn in_order(&self, gradient: &[f32]) -> Vec<f32> {
        let mut row = vec![0.0; 4 * self.panels.hidden];
        self.panels.add_row(gradient, &mut row);
        row
    }
}

impl InputPass<'_> {
    /// The hidden state after `step`, in the order in which the layer read.
    pub fn state(&self, step: usize) -> &[f32] {
        let width = self.layer.state_width();
        // The state after a step was kept as the one before the next.
        let kept = (step + 1) * width;
        &self.hiddens.get(kept..kept + width).unwrap_or(&self.h)[..self.layer.panels.hidden]
    }

    /// Goes back with the gradient of every state `[steps, state_width]`, zeros where units are padding; gives
    /// the gradient of the rows `[steps, gate_width]`, before their scale. The other buffers go back to `buffers`.
    ///
    /// # Panics
    /// When the gradient has another size.
    pub fn backward(mut self, gradient: &[f32], buffers: &BufferPool) -> AlignedVec {
        assert_eq!(gradient.len(), self.hiddens.len(), "size of the gradient");
        self.h.fill(0.0);
        self.c.fill(0.0);
        let mut task = Backward {
            panels: self.layer.panels.count(),
            weights: &self.layer.transposed,
            lengths: &self.lengths,
            dh: &mut self.h,
            dc: &mut self.c,
            dh_steps: gradient,
            dc_steps: &[],
            kept: Kept {
                gates: &mut self.gates,
                cells: &mut self.cells,
                tanhs: &mut self.tanhs,
                hiddens: &mut self.hiddens,
            },
        };
        // SAFETY: as for the forward run; the gradient is as long as the kept states.
        unsafe { dispatch::train_backward(self.layer.isa, &mut task) }
        buffers.give([self.h, self.c, self.cells, self.tanhs, self.hiddens]);
        self.gates
    }
}
