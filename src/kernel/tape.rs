//! A training pass over a batch of sequences of any lengths: forward, then once back.

use super::buffers::BufferPool;
use super::dispatch;
use super::isa::Isa;
use super::layout::{AlignedVec, Panels};
use super::loops::train::{Backward, Forward, Kept};
use super::parallel::for_each_parallel;

/// What a training pass runs over; all slices are borrowed for the forward run only.
#[derive(Clone, Copy, Debug)]
pub struct TrainingInput<'a> {
    /// Units of the layer.
    pub hidden: usize,
    /// Recurrent weight `[4 hidden, hidden]`, gates in the order i, f, g, o.
    pub weight_hh: &'a [f32],
    /// Pre-activations from the input `[rows, 4 hidden]`, without the bias.
    pub table: &'a [f32],
    /// Bias `[4 hidden]`.
    pub bias: &'a [f32],
    /// For each sequence the rows of the table, in the order in which the layer reads them.
    pub sequences: &'a [Vec<u32>],
    /// Steps over the table's row `.0` that come before each sequence, `.1[sequence]` of them; shared, so they
    /// cost as much as the longest alone.
    pub prefix: Option<(u32, &'a [usize])>,
    /// Threads to use.
    pub threads: usize,
}

/// Sequences that run in step, and what they keep.
#[derive(Debug)]
struct Block {
    /// Which sequences of the batch, longest first.
    members: Vec<usize>,
    lengths: Vec<usize>,
    /// Rows of the table in storage order.
    rows: Vec<u32>,
    h: AlignedVec,
    c: AlignedVec,
    gates: AlignedVec,
    cells: AlignedVec,
    tanhs: AlignedVec,
    hiddens: AlignedVec,
    /// Gradient of the recurrent weight, packed as the weight is; filled by the backward pass.
    gradient: AlignedVec,
}

impl Block {
    fn new(panels: Panels, pool: &BufferPool, members: Vec<usize>, sequences: &[Vec<u32>]) -> Self {
        let lengths: Vec<usize> = members.iter().map(|&member| sequences[member].len()).collect();
        let steps: usize = lengths.iter().sum();
        let mut rows = Vec::with_capacity(steps);
        for_each_step(&lengths, |step, row| rows.push(sequences[members[row]][step]));
        let (width, gates) = (panels.state_width(), panels.gate_width());
        let state = members.len() * width;
        Self {
            lengths,
            rows,
            h: AlignedVec::zeros(state),
            c: AlignedVec::zeros(state),
            gates: pool.take(steps * gates),
            cells: pool.take(steps * width),
            tanhs: pool.take(steps * width),
            hiddens: pool.take(steps * width),
            gradient: AlignedVec::default(),
            members,
        }
    }

    fn forward(&mut self, isa: Isa, panels: Panels, weights: &[f32], table: &[f32]) {
        let mut task = Forward {
            panels: panels.count(),
            hidden: panels.hidden,
            weights,
            table,
            rows: &self.rows,
            lengths: &self.lengths,
            h: &mut self.h,
            c: &mut self.c,
            kept: Kept {
                gates: &mut self.gates,
                cells: &mut self.cells,
                tanhs: &mut self.tanhs,
                hiddens: &mut self.hiddens,
            },
        };
        // SAFETY: the buffers were sized for these lengths by `new`, rows were checked by `Tape::forward`.
        unsafe { dispatch::train_forward(isa, &mut task) }
    }

    /// Goes back; `h` and `c` hold the gradients of the last states on the way in, of the first on the way out.
    fn backward(&mut self, isa: Isa, panels: Panels, weights: &[f32], dh_steps: &[f32], dc_steps: &[f32]) {
        let mut task = Backward {
            panels: panels.count(),
            weights,
            lengths: &self.lengths,
            dh: &mut self.h,
            dc: &mut self.c,
            dh_steps,
            dc_steps,
            kept: Kept {
                gates: &mut self.gates,
                cells: &mut self.cells,
                tanhs: &mut self.tanhs,
                hiddens: &mut self.hiddens,
            },
        };
        // SAFETY: as for `forward`; the gradients of steps are empty or as long as the kept hidden states.
        unsafe { dispatch::train_backward(isa, &mut task) }
        self.gradient = AlignedVec::zeros(panels.gate_width() * panels.state_width());
        // SAFETY: gates and hidden states have as many rows as there are steps, the gradient was sized above.
        unsafe {
            dispatch::outer_products(isa, panels.count(), &self.gates, &self.hiddens, &mut self.gradient)
        }
    }
}

/// Calls `each(step, row)` in storage order for sequences of these lengths, longest first.
fn for_each_step(lengths: &[usize], mut each: impl FnMut(usize, usize)) {
    for step in 0..lengths.first().copied().unwrap_or(0) {
        for row in 0..lengths.partition_point(|&length| length > step) {
            each(step, row);
        }
    }
}

/// A finished forward run, ready to go back once.
#[derive(Debug)]
pub struct Tape {
    isa: Isa,
    panels: Panels,
    threads: usize,
    table_rows: usize,
    blocks: Vec<Block>,
    prefix: Option<Block>,
    prefix_lengths: Vec<usize>,
    transposed: AlignedVec,
    /// Where each sequence begins among all steps laid end to end; one entry more than sequences.
    starts: Vec<usize>,
}

/// What goes back into a layer's input and weight.
#[derive(Debug)]
pub struct Gradients {
    /// Of the table, `[rows, 4 hidden]`.
    pub table: Vec<f32>,
    /// Of the recurrent weight, `[4 hidden, hidden]`.
    pub weight_hh: Vec<f32>,
    /// Of the bias, `[4 hidden]`.
    pub bias: Vec<f32>,
}

impl Tape {
    /// Runs a batch forward.
    ///
    /// # Panics
    /// When a slice of `input` has another length than its docs give, or a row lies outside the table.
    pub fn forward(isa: Isa, input: TrainingInput<'_>, pool: &BufferPool) -> Self {
        let panels = Panels::of_recurrent(isa, input.hidden, input.weight_hh);
        let (hidden, gates) = (input.hidden, 4 * input.hidden);
        assert!(input.table.len().is_multiple_of(gates) && input.bias.len() == gates, "table and bias");
        let table_rows = input.table.len() / gates;
        let highest = input.sequences.iter().flatten().copied().chain(input.prefix.map(|(row, _)| row)).max();
        assert!(highest.is_none_or(|row| (row as usize) < table_rows), "a row outside the table");

        let mut table = pool.take(table_rows * panels.gate_width());
        panels.scale_rows(input.table, input.bias, &mut table);
        let weights = panels.pack(input.weight_hh, hidden, panels.state_width());

        // Longest first, so that the sequences of a block are of like length; ties in order, for equal bytes.
        let mut order: Vec<usize> = (0..input.sequences.len()).collect();
        order.sort_by_key(|&sequence| std::cmp::Reverse(input.sequences[sequence].len()));
        let mut blocks: Vec<Block> = order
            .chunks(isa.tile_rows())
            .map(|members| Block::new(panels, pool, members.to_vec(), input.sequences))
            .collect();

        let mut prefix_lengths = Vec::new();
        let prefix = input.prefix.map(|(row, lengths)| {
            assert_eq!(lengths.len(), input.sequences.len(), "prefix");
            prefix_lengths = lengths.to_vec();
            let steps = vec![vec![row; lengths.iter().copied().max().unwrap_or(0)]];
            let mut prefix = Block::new(panels, pool, vec![0], &steps);
            prefix.forward(isa, panels, &weights, &table);
            let width = panels.state_width();
            for block in &mut blocks {
                for (row, &member) in block.members.iter().enumerate() {
                    let (from, to) = (lengths[member] * width, row * width..(row + 1) * width);
                    // What is kept is the state before each step; the one after the last is the block's own.
                    let before = from < prefix.hiddens.len();
                    let h = if before { &prefix.hiddens[from..from + width] } else { &prefix.h };
                    let c = if before { &prefix.cells[from..from + width] } else { &prefix.c };
                    block.h[to.clone()].copy_from_slice(h);
                    block.c[to].copy_from_slice(c);
                }
            }
            prefix
        });
        for_each_parallel(input.threads, &mut blocks, |block| block.forward(isa, panels, &weights, &table));
        pool.give([table]);
        let mut starts = vec![0];
        starts.extend(input.sequences.iter().scan(0, |end, sequence| {
            *end += sequence.len();
            Some(*end)
        }));
        Self {
            isa,
            panels,
            threads: input.threads,
            table_rows,
            blocks,
            prefix,
            prefix_lengths,
            transposed: panels.pack_transposed(input.weight_hh),
            starts,
        }
    }

    /// Number of steps of all sequences.
    pub fn steps(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The last hidden state of each sequence, `[sequences, hidden]`.
    pub fn last_states(&self) -> Vec<f32> {
        let (hidden, width) = (self.panels.hidden, self.panels.state_width());
        let mut states = vec![0.0; (self.starts.len() - 1) * hidden];
        for block in &self.blocks {
            for (row, &member) in block.members.iter().enumerate() {
                states[member * hidden..][..hidden].copy_from_slice(&block.h[row * width..][..hidden]);
            }
        }
        states
    }

    /// The hidden state after every step, `[steps, hidden]`, the sequences end to end; with `reverse` the first step
    /// of a sequence stands last, as for a layer that reads backwards.
    pub fn all_states(&self, reverse: bool) -> Vec<f32> {
        let (hidden, width) = (self.panels.hidden, self.panels.state_width());
        let mut states = vec![0.0; self.steps() * hidden];
        for block in &self.blocks {
            let mut at = 0;
            for_each_step(&block.lengths, |step, row| {
                // The state after a step was kept as the one before the next, one round further on.
                let round = block.lengths.partition_point(|&length| length > step);
                let state = match block.lengths[row] - 1 - step {
                    0 => &block.h[row * width..],
                    _ => &block.hiddens[(at + round) * width..],
                };
                let to = self.position(block.members[row], step, reverse);
                states[to * hidden..][..hidden].copy_from_slice(&state[..hidden]);
                at += 1;
            });
        }
        states
    }

    fn position(&self, sequence: usize, step: usize, reverse: bool) -> usize {
        if reverse { self.starts[sequence + 1] - 1 - step } else { self.starts[sequence] + step }
    }

    /// Goes back with the gradient of [`Tape::last_states`], `[sequences, hidden]`.
    pub fn backward_last(mut self, gradient: &[f32], pool: &BufferPool) -> Gradients {
        let (hidden, width) = (self.panels.hidden, self.panels.state_width());
        for block in &mut self.blocks {
            for (row, &member) in block.members.iter().enumerate() {
                block.h[row * width..][..hidden].copy_from_slice(&gradient[member * hidden..][..hidden]);
                block.c[row * width..(row + 1) * width].fill(0.0);
            }
        }
        let (isa, panels, transposed) = (self.isa, self.panels, std::mem::take(&mut self.transposed));
        for_each_parallel(self.threads, &mut self.blocks, |block| {
            block.backward(isa, panels, &transposed, &[], &[]);
        });
        self.transposed = transposed;
        self.finish(pool)
    }

    /// Goes back with the gradient of [`Tape::all_states`], `[steps, hidden]`, called with the same `reverse`.
    pub fn backward_all(mut self, gradient: &[f32], reverse: bool, pool: &BufferPool) -> Gradients {
        let (hidden, width) = (self.panels.hidden, self.panels.state_width());
        let (isa, panels) = (self.isa, self.panels);
        let mut blocks = std::mem::take(&mut self.blocks);
        for_each_parallel(self.threads, &mut blocks, |block| {
            block.h.fill(0.0);
            block.c.fill(0.0);
            let mut steps = pool.take(block.hiddens.len());
            let mut at = 0;
            for_each_step(&block.lengths, |step, row| {
                let from = self.position(block.members[row], step, reverse);
                let to = &mut steps[at * width..(at + 1) * width];
                to[..hidden].copy_from_slice(&gradient[from * hidden..][..hidden]);
                to[hidden..].fill(0.0);
                at += 1;
            });
            block.backward(isa, panels, &self.transposed, &steps, &[]);
            pool.give([steps]);
        });
        self.blocks = blocks;
        self.finish(pool)
    }

    /// Goes back through the shared prefix and adds everything up, always in the same order.
    fn finish(mut self, pool: &BufferPool) -> Gradients {
        let (panels, width) = (self.panels, self.panels.state_width());
        if let Some(mut prefix) = self.prefix.take() {
            // The gradient of the state after k steps is the sum over the sequences that start from it.
            let steps = prefix.rows.len();
            let (mut dh, mut dc) =
                (AlignedVec::zeros((steps + 1) * width), AlignedVec::zeros((steps + 1) * width));
            for block in &self.blocks {
                for (row, &member) in block.members.iter().enumerate() {
                    let (from, to) = (row * width, self.prefix_lengths[member] * width);
                    (0..width).for_each(|unit| dh[to + unit] += block.h[from + unit]);
                    (0..width).for_each(|unit| dc[to + unit] += block.c[from + unit]);
                }
            }
            prefix.h.fill(0.0);
            prefix.c.fill(0.0);
            prefix.backward(self.isa, panels, &self.transposed, &dh[width..], &dc[width..]);
            self.blocks.push(prefix);
        }
        let gates = 4 * panels.hidden;
        let table = self.table_gradient();
        let mut sum = AlignedVec::zeros(panels.gate_width() * width);
        for block in &self.blocks {
            sum.iter_mut().zip(block.gradient.iter()).for_each(|(sum, value)| *sum += value);
        }
        let mut bias = vec![0.0; gates];
        for row in table.chunks_exact(gates) {
            bias.iter_mut().zip(row).for_each(|(bias, value)| *bias += value);
        }
        let mut weight_hh = vec![0.0; gates * panels.hidden];
        panels.unpack(&sum, &mut weight_hh);
        self.recycle(pool);
        Gradients { table, weight_hh, bias }
    }

    /// The gradient of the table, each thread adding up rows of its own: as many steps for each, in the same order
    /// however many threads there are.
    fn table_gradient(&self) -> Vec<f32> {
        let gates = 4 * self.panels.hidden;
        let mut table = vec![0.0; self.table_rows * gates];
        let mut counts = vec![0usize; self.table_rows];
        self.blocks.iter().flat_map(|block| &block.rows).for_each(|&row| counts[row as usize] += 1);
        let share = counts.iter().sum::<usize>().div_ceil(self.threads.max(1)).max(1);
        let mut parts = Vec::with_capacity(self.threads);
        let (mut rest, mut first, mut steps) = (table.as_mut_slice(), 0, 0);
        for (row, count) in counts.iter().enumerate() {
            steps += count;
            if steps >= share || row + 1 == self.table_rows {
                let part = rest.split_off_mut(..(row + 1 - first) * gates).unwrap_or_default();
                parts.push((first..row + 1, part));
                (first, steps) = (row + 1, 0);
            }
        }
        for_each_parallel(self.threads, &mut parts, |(rows, part)| {
            for block in &self.blocks {
                for (row, dz) in block.rows.iter().zip(block.gates.chunks_exact(self.panels.gate_width())) {
                    let row = *row as usize;
                    if rows.contains(&row) {
                        self.panels.add_row(dz, &mut part[(row - rows.start) * gates..][..gates]);
                    }
                }
            }
        });
        table
    }

    /// Gives the buffers back to the pool they came from; for a pass that does not go back.
    pub fn recycle(self, pool: &BufferPool) {
        for block in self.blocks.into_iter().chain(self.prefix) {
            pool.give([block.gates, block.cells, block.tanhs, block.hiddens]);
        }
    }
}
